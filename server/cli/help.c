/*
 * help.c - see help.h.
 */
#include "server/cli/help.h"
#include <string.h>

void help_command(const struct cli_command *k, FILE *out)
{
    fprintf(out, "usage: headend %s%s%s", k->name, *k->free ? " " : "",
            k->free);
    for (const struct cli_arg *a = k->args; a->name; a++)
        fprintf(out, a->required ? " --%s%s%s" : " [--%s%s%s]", a->name,
                a->value ? " " : "", a->value ? a->value : "");
    fprintf(out, "\n\n%s\n", k->help);
    if (k->args->name)
        fputc('\n', out);
    for (const struct cli_arg *a = k->args; a->name; a++)
        fprintf(out, "  --%-16s %s\n", a->name, a->help);
    fputs("\nAny setting may follow as --name=value (see `headend config`), and"
          "\n--config FILE names a file of settings.\n",
          out);
}

int help_commands(const struct cli_command *all, const char *prefix, FILE *out)
{
    int n = 0;

    for (const struct cli_command *k = all; k->name; k++) {
        if (strncmp(k->name, prefix, strlen(prefix)) != 0)
            continue;
        if (n++ == 0)
            fputs("usage: headend [--config FILE] [--SETTING=VALUE ...] COMMAND"
                  " ...\n\nCollects what utility meters send, decodes it, keeps"
                  " it exactly.\n\n",
                  out);
        fprintf(out, "  %-20s %s\n", k->name, k->help);
    }
    if (n)
        fputs("\n`headend help COMMAND` tells more; `headend config` lists the"
              " settings.\n",
              out);
    return n;
}

/* ---- the man page ---- */

/* Text that roff leaves as it is, with a request or font before it. */
static void roff(FILE *out, const char *before, const char *text,
                 const char *after)
{
    fputs(before, out);
    for (const char *p = text; *p; p++) {
        if (p == text && !*before && (*p == '.' || *p == '\''))
            fputs("\\&", out);
        if (*p == '\\')
            fputs("\\e", out);
        else if (*p == '-')
            fputs("\\-", out);
        else
            fputc(*p, out);
    }
    fputs(after, out);
}

static void man_command(const struct cli_command *k, FILE *out)
{
    roff(out, ".SS headend ", k->name, "\n.B headend ");
    roff(out, "", k->name, "\n");
    if (*k->free)
        roff(out, ".I ", k->free, "\n");
    for (const struct cli_arg *a = k->args; a->name; a++) {
        roff(out, a->required ? "\\fB\\-\\-" : "[\\fB\\-\\-", a->name, "\\fR");
        if (a->value)
            roff(out, " \\fI", a->value, "\\fR");
        fputs(a->required ? "\n" : "]\n", out);
    }
    roff(out, ".PP\n", k->help, "\n");
    for (const struct cli_arg *a = k->args; a->name; a++) {
        roff(out, ".TP\n\\fB\\-\\-", a->name, "\\fR");
        if (a->value)
            roff(out, " \\fI", a->value, "\\fR");
        fputs("\n", out);
        roff(out, "", a->help, "\n");
    }
}

static void man_setting(const struct conf_option *o, FILE *out)
{
    roff(out, ".TP\n\\fB", o->name, "\\fR");
    if (o->fallback && *o->fallback)
        roff(out, " (", o->fallback, "");
    if (o->fallback && *o->fallback)
        roff(out, o->unit ? " " : "", o->unit ? o->unit : "", ")");
    fputs("\n", out);
    roff(out, "", o->help, "\n");
}

void help_man(const struct cli_command *all, FILE *out)
{
    fputs(".TH HEADEND 1 \"\" \"headend " HEADEND_VERSION "\"\n"
          ".SH NAME\nheadend \\- head\\-end for utility meters\n"
          ".SH SYNOPSIS\n.B headend\n"
          "[\\fB\\-\\-config\\fR \\fIFILE\\fR]\n"
          "[\\fB\\-\\-\\fISETTING\\fB=\\fIVALUE\\fR ...]\n"
          ".I COMMAND\n\\&...\n"
          ".SH DESCRIPTION\nCollects what utility meters send, decodes it, and"
          " keeps every reading exact, traceable and never lost, for many"
          " tenants at once.\n.SH COMMANDS\n",
          out);
    for (const struct cli_command *k = all; k->name; k++)
        man_command(k, out);
    fputs(".SH SETTINGS\nFrom the file that \\fB\\-\\-config\\fR or"
          " \\fBHEADEND_CONFIG\\fR names (\\fIname = value\\fR), the"
          " environment (\\fBHEADEND_JOURNAL_SYNC\\fR for journal.sync), or the"
          " command line; the later wins. In brackets what holds when nothing"
          " is said; \\fBheadend config\\fR prints bounds too.\n",
          out);
    for (const struct conf_option *o = settings_options; o->name; o++)
        man_setting(o, out);
    fputs(".SH ENVIRONMENT\n.TP\n.B HEADEND_CONFIG\nA file of settings, where"
          " \\fB\\-\\-config\\fR names none.\n"
          ".TP\n.B HEADEND_MASTER_KEY\nThe master key itself, before"
          " keys.master_file.\n"
          ".SH SIGNALS\n\\fBheadend serve\\fR ends cleanly on SIGTERM and"
          " SIGINT, at once on a second one; SIGHUP reads certificates anew.\n"
          ".SH EXIT STATUS\n0: done. 1: it could not be done, standard error"
          " says why. 2: wrongly called.\n",
          out);
}
