/*
 * cli.h - the command line: subcommands in one table, their arguments in small
 * tables of their own, so that parsing and help cannot disagree.
 */
#pragma once

#include "server/base/buf.h"
#include "server/cli/settings.h"
#include <libpq-fe.h>

struct cli_arg {
    const char *name;  /* "tenant" for --tenant; NULL ends the list */
    const char *value; /* placeholder, or NULL for a switch */
    bool required;
    const char *help;
};
enum { CLI_ARGS = 20, CLI_FREE = 4 };

struct cli {
    struct settings settings;
    struct conf_table conf;
    const char *program;          /* path of this binary */
    const char *values[CLI_ARGS]; /* by position in the command's table; ""
                                     for a switch that is on */
    const char *free[CLI_FREE];   /* positional arguments */
    int n_free;
};

struct cli_command {
    const char *name; /* "meter add"; NULL ends the list */
    const char *free; /* positional arguments for the usage line, or "" */
    int free_min, free_max;
    const struct cli_arg *args;
    int (*run)(struct cli *c); /* exit status */
    const char *help;
};

int cli_main(int argc, char **argv);

/* The value of an argument of the running command; NULL when not given. */
const char *cli_get(const struct cli *c, const struct cli_arg *args,
                    const char *name);

/* Prints "headend: ..." on stderr; returns 1, so that a command may return
 * it. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A file ("-": standard input) of text, with a NUL behind it; 1 after telling
 * why not. */
int cli_read(const char *path, struct buf *text);

extern const struct cli_arg no_args[], codecs_list_args[], codecs_upload_args[],
    codecs_activate_args[], migrate_args[], tenant_add_args[],
    tenant_set_args[], tenant_remove_args[], list_args[], api_key_add_args[],
    api_key_list_args[], account_add_args[], account_list_args[],
    audit_verify_args[], audit_list_args[], integration_args[],
    integration_list_args[], integration_name_args[], meter_add_args[],
    meter_import_args[], meter_list_args[], passport_import_args[],
    passport_list_args[], passport_show_args[], trace_args[], replay_args[],
    ledger_args[], gaps_args[], clock_args[], command_send_args[],
    command_list_args[], command_one_args[], quarantine_list_args[],
    report_add_args[], report_list_args[], report_run_args[],
    report_show_args[], report_download_args[], config_args[], decode_args[],
    keys_rotate_args[], keys_add_args[], keys_import_args[], keys_list_args[],
    keys_remove_args[];
int cmd_serve(struct cli *c);
int cmd_bridge(struct cli *c);
int cmd_migrate(struct cli *c);
int cmd_config(struct cli *c);
int cmd_tenant_add(struct cli *c);
int cmd_tenant_set(struct cli *c);
int cmd_tenant_remove(struct cli *c);
int cmd_tenant_list(struct cli *c);
int cmd_api_key_add(struct cli *c);
int cmd_api_key_list(struct cli *c);
int cmd_api_key_remove(struct cli *c);
int cmd_account_add(struct cli *c);
int cmd_account_list(struct cli *c);
int cmd_account_reset(struct cli *c);
int cmd_account_disable(struct cli *c);
int cmd_account_enable(struct cli *c);
int cmd_audit_verify(struct cli *c);
int cmd_audit_list(struct cli *c);
int cmd_integration_add(struct cli *c);
int cmd_integration_list(struct cli *c);
int cmd_integration_enable(struct cli *c);
int cmd_integration_disable(struct cli *c);
int cmd_integration_remove(struct cli *c);
int cmd_meter_add(struct cli *c);
int cmd_meter_import(struct cli *c);
int cmd_meter_list(struct cli *c);
int cmd_passport_import(struct cli *c);
int cmd_passport_list(struct cli *c);
int cmd_passport_show(struct cli *c);
int cmd_keys_init(struct cli *c);
int cmd_keys_rotate(struct cli *c);
int cmd_keys_seal(struct cli *c);
int cmd_keys_add(struct cli *c);
int cmd_keys_import(struct cli *c);
int cmd_keys_list(struct cli *c);
int cmd_keys_remove(struct cli *c);
int cmd_codecs_list(struct cli *c);
int cmd_codecs_upload(struct cli *c);
int cmd_codecs_activate(struct cli *c);
/* `codecs list --tenant`. */
int codecs_of_tenant(struct cli *c, const char *tenant_name, bool json);
int cmd_codecs_check(struct cli *c);
int cmd_codecs_show(struct cli *c);
int cmd_decode(struct cli *c);
int cmd_trace(struct cli *c);
int cmd_replay(struct cli *c);
int cmd_ledger(struct cli *c);
int cmd_gaps(struct cli *c);
int cmd_clock(struct cli *c);
int cmd_command_send(struct cli *c);
int cmd_command_list(struct cli *c);
int cmd_command_show(struct cli *c);
int cmd_command_cancel(struct cli *c);
int cmd_quarantine_list(struct cli *c);
int cmd_quarantine_show(struct cli *c);
int cmd_report_add(struct cli *c);
int cmd_report_list(struct cli *c);
int cmd_report_run(struct cli *c);
int cmd_report_show(struct cli *c);
int cmd_report_download(struct cli *c);
