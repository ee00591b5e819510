/*
 * cli.c - finds the subcommand, reads settings and arguments.
 */
#include "server/cli/cli.h"
#include "codecs/loaded.h"
#include "ingest/bridge/bridge.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/cli/help.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_arg no_args[] = {{0}};
const struct cli_arg config_args[] = {
    {"current", NULL, false, "with the values in force instead of defaults"},
    {0}};

static const struct cli_arg help_args[] = {
    {"man", NULL, false, "the man page, in roff"}, {0}};

static int cmd_version(struct cli *c);
static int cmd_help(struct cli *c);

static const struct cli_command commands[] = {
    {"serve", "", 0, 0, no_args, cmd_serve, "Run the head-end."},
    {"migrate", "", 0, 0, migrate_args, cmd_migrate,
     "Bring the database to this program's schema (database.admin_url)."},
    {"tenant add", "NAME", 1, 1, tenant_add_args, cmd_tenant_add,
     "Make a tenant; prints its first API key, which is shown once."},
    {"tenant set", "NAME", 1, 1, tenant_set_args, cmd_tenant_set,
     "Change what a tenant may send and takes; a running server notices by "
     "itself."},
    {"tenant remove", "NAME", 1, 1, tenant_remove_args, cmd_tenant_remove,
     "A tenant leaves (as database.admin_url): it is suspended, exported, its"
     " keys are shredded, its rows deleted. May be interrupted and called"
     " again."},
    {"tenant list", "", 0, 0, list_args, cmd_tenant_list, "List tenants."},
    {"api-key add", "TENANT", 1, 1, api_key_add_args, cmd_api_key_add,
     "Make a further API key of a tenant, or let a machine in by its"
     " certificate."},
    {"api-key list", "TENANT", 1, 1, api_key_list_args, cmd_api_key_list,
     "List a tenant's API keys, without their secrets."},
    {"api-key remove", "TENANT ID", 2, 2, no_args, cmd_api_key_remove,
     "Take an API key back; it works for five seconds longer at most."},
    {"account add", "EMAIL", 1, 1, account_add_args, cmd_account_add,
     "Make a person a member of a tenant; prints a new account's password."},
    {"account list", "", 0, 0, account_list_args, cmd_account_list,
     "List the people of a tenant."},
    {"account reset", "EMAIL", 1, 1, no_args, cmd_account_reset,
     "Print a new password for a person; sessions and second factor end."},
    {"account disable", "EMAIL", 1, 1, no_args, cmd_account_disable,
     "Keep a person out of every tenant."},
    {"account enable", "EMAIL", 1, 1, no_args, cmd_account_enable,
     "Let a disabled person in again."},
    {"audit verify", "", 0, 0, audit_verify_args, cmd_audit_verify,
     "Check the chain of the audit trail; find what was changed or removed."},
    {"audit list", "", 0, 0, audit_list_args, cmd_audit_list,
     "Print a tenant's audit trail, newest first."},
    {"integration add", "", 0, 0, integration_args, cmd_integration_add,
     "Connect a network server's MQTT broker, or open a TCP listener."},
    {"integration list", "", 0, 0, integration_list_args, cmd_integration_list,
     "List integrations."},
    {"integration enable", "", 0, 0, integration_name_args,
     cmd_integration_enable, "Start an integration that was disabled."},
    {"integration disable", "", 0, 0, integration_name_args,
     cmd_integration_disable, "Stop an integration, keep its row."},
    {"integration remove", "", 0, 0, integration_name_args,
     cmd_integration_remove, "Forget an integration."},
    {"meter add", "", 0, 0, meter_add_args, cmd_meter_add,
     "Register one meter."},
    {"meter import", "FILE", 1, 1, meter_import_args, cmd_meter_import,
     "Register meters from CSV (serial,model[,dev_eui][,timezone][,name][,note]"
     "[,verification_due][,state]; of meters on an M-Bus also "
     "secondary_address,"
     " baud_rate, addressing_mode, primary_address, enhanced_address); - reads"
     " standard input. All rows or none; the same meter again changes "
     "nothing."},
    {"meter list", "", 0, 0, meter_list_args, cmd_meter_list,
     "List a tenant's meters."},
    {"passport import", "FILE", 1, 1, passport_import_args, cmd_passport_import,
     "Add and change passports from a maker's CSV (model, serial, dev_eui,"
     " join_eui, module_model, module_serial, made_on, note, appkey, appskey,"
     " encryption_key, authentication_key, parameters.NAME); - reads standard"
     " input. Says what became of each row that is refused."},
    {"passport list", "", 0, 0, passport_list_args, cmd_passport_list,
     "List a tenant's passports, without keys."},
    {"passport show", "SERIAL", 1, 1, passport_show_args, cmd_passport_show,
     "What the maker says of one serial, and whether its meter keeps it."},
    {"keys init", "", 0, 0, no_args, cmd_keys_init,
     "Make the master key that seals all secrets (keys.master_file)."},
    {"keys rotate", "", 0, 0, keys_rotate_args, cmd_keys_rotate,
     "Replace the master key, or a tenant's key, and seal anew what was under"
     " it. May be interrupted and called again."},
    {"keys add", "", 0, 0, keys_add_args, cmd_keys_add,
     "Add a meter's key, or one for all meters that fit."},
    {"keys import", "FILE", 1, 1, keys_import_args, cmd_keys_import,
     "Add keys from CSV (Address,Key,Manufacturer,DeviceType,Version; also"
     " Purpose, Meter); - reads standard input. Says what became of each row; a"
     " key that is there already changes nothing."},
    {"keys list", "", 0, 0, keys_list_args, cmd_keys_list,
     "List a tenant's keys, without what is secret."},
    {"keys remove", "ID", 1, 1, keys_remove_args, cmd_keys_remove,
     "Forget a key; what it has opened stays."},
    {"keys seal", "", 0, 0, no_args, cmd_keys_seal,
     "Seal what an earlier version left in clear (serve does it too)."},
    {"codecs list", "", 0, 0, codecs_list_args, cmd_codecs_list,
     "List codecs."},
    {"codecs upload", "", 0, 0, codecs_upload_args, cmd_codecs_upload,
     "Keep a version of a tenant's payload codec, once its vectors pass."},
    {"codecs activate", "", 0, 0, codecs_activate_args, cmd_codecs_activate,
     "Put a version of a tenant's payload codec in force."},
    {"codecs check", "", 0, 0, no_args, cmd_codecs_check,
     "Run every codec's test vectors on this machine."},
    {"codecs show", "NAME", 1, 1, no_args, cmd_codecs_show,
     "Source, version and vectors of one codec."},
    {"decode", "[HEX]", 0, 1, decode_args, cmd_decode,
     "Show what the bytes of a meter mean, without server or database."},
    {"trace", "FRAME | --reading METER_ID REGISTER TIME", 1, 3, trace_args,
     cmd_trace,
     "Follow one frame from the socket to its readings, or one reading back to"
     " the frames that brought it."},
    {"ledger", "", 0, 0, ledger_args, cmd_ledger,
     "Count what was received and what became of it."},
    {"gaps", "", 0, 0, gaps_args, cmd_gaps,
     "List meters of which frames are missing, as their counters show."},
    {"clock", "", 0, 0, clock_args, cmd_clock,
     "List the clocks of meters, those that are off most first."},
    {"command send", "METER_ID KIND", 2, 2, command_send_args, cmd_command_send,
     "Have a meter do something: valve_open, valve_close, read_archive,"
     " set_schedule, set_substitution, set_clock, reboot, raw. What its codec"
     " cannot say is refused."},
    {"command list", "", 0, 0, command_list_args, cmd_command_list,
     "List commands to meters, newest first."},
    {"command show", "ID", 1, 1, command_one_args, cmd_command_show,
     "One command with every step of it."},
    {"command cancel", "ID", 1, 1, command_one_args, cmd_command_cancel,
     "Take a command back that has not left."},
    {"quarantine list", "", 0, 0, quarantine_list_args, cmd_quarantine_list,
     "List frames that could not become readings, and why."},
    {"quarantine show", "FRAME", 1, 1, no_args, cmd_quarantine_show,
     "Look at one: its bytes, what was decoded, what stopped it where."},
    {"report add", "", 0, 0, report_add_args, cmd_report_add,
     "Make a report of a tenant: what billing pulls, on a schedule or on"
     " demand."},
    {"report list", "", 0, 0, report_list_args, cmd_report_list,
     "List reports and when they run next."},
    {"report run", "REPORT", 1, 1, report_run_args, cmd_report_run,
     "Ask for a run: as the schedule would now, or of a time; a running server"
     " makes it."},
    {"report show", "REPORT", 1, 1, report_show_args, cmd_report_show,
     "List the runs of a report, newest first."},
    {"report download", "RUN", 1, 1, report_download_args, cmd_report_download,
     "Print what a run holds."},
    {"replay", "", 0, 0, replay_args, cmd_replay,
     "Decode quarantined frames again."},
    {"config", "", 0, 0, config_args, cmd_config,
     "Print the commented reference of all settings."},
    {"bridge", "", 0, 0, no_args, cmd_bridge,
     "Internal: MQTT child process of serve (speaks on descriptor 3)."},
    {"version", "", 0, 0, no_args, cmd_version, "Print the version."},
    {"help", "[COMMAND]", 0, 2, help_args, cmd_help, "Print help."},
    {0},
};

int cli_fail(const char *fmt, ...)
{
    va_list ap;
    fputs("headend: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

int cli_read(const char *path, struct buf *text)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    size_t n;

    if (!in)
        return cli_fail("%s: cannot be read", path);
    while ((n = fread(buf_room(text, 1 << 16), 1, 1 << 16, in)) > 0)
        text->n += n;
    bool bad = ferror(in) || (text->n && memchr(text->p, 0, text->n));
    if (in != stdin)
        fclose(in);
    buf_u8(text, 0);
    return bad ? cli_fail("%s: cannot be read, or is not text", path) : 0;
}

const char *cli_get(const struct cli *c, const struct cli_arg *args,
                    const char *name)
{
    for (int i = 0; args[i].name; i++)
        if (strcmp(args[i].name, name) == 0)
            return c->values[i];
    return NULL;
}

static int cmd_help(struct cli *c)
{
    char name[64];

    if (cli_get(c, help_args, "man")) {
        help_man(commands, stdout);
        return 0;
    }
    snprintf(name, sizeof name, "%s%s%s", c->n_free ? c->free[0] : "",
             c->n_free > 1 ? " " : "", c->n_free > 1 ? c->free[1] : "");
    for (const struct cli_command *k = commands; k->name; k++)
        if (c->n_free && strcmp(k->name, name) == 0) {
            help_command(k, stdout);
            return 0;
        }
    if (help_commands(commands, name, stdout) > 0)
        return 0;
    cli_fail("%s: no such command; `headend help` lists them", name);
    return 2;
}

static int cmd_version(struct cli *c)
{
    (void)c;
    puts("headend " HEADEND_VERSION);
    return 0;
}

int cmd_config(struct cli *c)
{
    conf_print(&c->conf, stdout, cli_get(c, config_args, "current") != NULL);
    return 0;
}

int cmd_bridge(struct cli *c)
{
    (void)c;
    return bridge_run(3);
}

/* --config FILE or --config=FILE, anywhere; taken out of argv. */
static const char *take_config_file(int *argc, char **argv)
{
    const char *file = NULL;
    int n = 1;
    for (int i = 1; i < *argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            file = argv[i] + 9;
        else if (strcmp(argv[i], "--config") == 0 && i + 1 < *argc)
            file = argv[++i];
        else
            argv[n++] = argv[i];
    }
    *argc = n;
    argv[n] = NULL;
    return file;
}

static int read_settings(struct cli *c, int *argc, char **argv)
{
    char error[CONF_ERROR];
    const char *file = take_config_file(argc, argv);

    if (!file)
        file = getenv("HEADEND_CONFIG");
    c->conf = (struct conf_table){settings_options, &c->settings};
    conf_defaults(&c->conf);
    if (file && conf_file(&c->conf, file, error) < 0)
        return cli_fail("%s", error);
    if (conf_environment(&c->conf, environ, error) < 0)
        return cli_fail("%s", error);
    if (conf_arguments(&c->conf, argc, argv, error) < 0)
        return cli_fail("%s", error);
    log_set_level((enum log_level)c->settings.log_level);
    return 0;
}

/* One or two words of argv name the command. */
static const struct cli_command *find_command(int argc, char **argv, int *used)
{
    for (const struct cli_command *k = commands; k->name; k++) {
        const char *second = strchr(k->name, ' ');
        size_t n = second ? (size_t)(second - k->name) : strlen(k->name);
        if (argc < 2 || strncmp(argv[1], k->name, n) != 0 || argv[1][n])
            continue;
        if (second && (argc < 3 || strcmp(argv[2], second + 1) != 0))
            continue;
        *used = second ? 3 : 2;
        return k;
    }
    return NULL;
}

static int take_option(struct cli *c, const struct cli_command *k, int argc,
                       char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    size_t n = strcspn(name, "=");

    for (int a = 0; k->args[a].name; a++) {
        if (strlen(k->args[a].name) != n ||
            strncmp(k->args[a].name, name, n) != 0)
            continue;
        if (!k->args[a].value)
            c->values[a] = "";
        else if (name[n] == '=')
            c->values[a] = name + n + 1;
        else if (*i + 1 < argc)
            c->values[a] = argv[++*i];
        else
            return cli_fail("--%s needs a value (%s)", k->args[a].name,
                            k->args[a].value);
        return 0;
    }
    return cli_fail("%s: no option or setting of that name; see `headend help"
                    " %s`",
                    argv[*i], k->name);
}

static int take_arguments(struct cli *c, const struct cli_command *k, int argc,
                          char **argv, int from)
{
    for (int i = from; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (take_option(c, k, argc, argv, &i) != 0)
                return 1;
        } else if (c->n_free < k->free_max) {
            c->free[c->n_free++] = argv[i];
        } else {
            return cli_fail("%s: one argument too many; see `headend help %s`",
                            argv[i], k->name);
        }
    }
    if (c->n_free < k->free_min)
        return cli_fail("%s is missing; see `headend help %s`", k->free,
                        k->name);
    for (int a = 0; k->args[a].name; a++)
        if (k->args[a].required && !c->values[a])
            return cli_fail("--%s is missing; see `headend help %s`",
                            k->args[a].name, k->name);
    return 0;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return argc < 2;
}

/* A codec that is refused is said and left out: its meters' frames wait in
 * quarantine. A directory that cannot be read is a mistake of the settings. */
static int load_codecs(const struct cli *c, const struct cli_command *k)
{
    static int (*const users[])(struct cli *) = {
        cmd_serve,       cmd_codecs_list, cmd_codecs_upload,   cmd_codecs_check,
        cmd_codecs_show, cmd_decode,      cmd_quarantine_show, cmd_replay};
    const char *dir = "";
    uint32_t n;

    for (size_t i = 0; i < sizeof users / sizeof *users; i++)
        dir = users[i] == k->run ? c->settings.codecs_dir : dir;
    if (codec_load_dir(dir) < 0)
        return cli_fail("codecs.dir %s: cannot be read", dir);
    const struct codec_file *f = codec_files(&n);
    for (uint32_t i = 0; i < n; i++) {
        if (f[i].codec)
            log_debug("codec loaded", "codec=%s version=%u file=%s",
                      f[i].codec->name, f[i].codec->version, f[i].path);
        else
            log_error("codec refused", "file=%s reason=%s", f[i].path,
                      f[i].why);
    }
    return 0;
}

int cli_main(int argc, char **argv)
{
    static struct cli c;
    int used = 0, status = 1;

    c.program = argv[0];
    if (read_settings(&c, &argc, argv) != 0)
        return 2;
    const struct cli_command *k = find_command(argc, argv, &used);
    if (wants_help(argc, argv)) {
        if (k)
            help_command(k, stdout);
        else
            help_commands(commands, "", stdout);
        status = argc < 2 ? 2 : 0;
    } else if (!k) {
        const char *const *rest = (const char *const *)argv;
        c.free[0] = rest[1];
        c.n_free = 1;
        cli_fail("%s: no such command; `headend help` lists them", rest[1]);
        status = 2;
    } else if (take_arguments(&c, k, argc, argv, used) != 0) {
        status = 2;
    } else {
        status = load_codecs(&c, k) != 0 ? 1 : k->run(&c);
    }
    conf_free(&c.conf);
    return status;
}
