/*
 * help.h - the table of subcommands as people read it: usage, list, man page.
 */
#pragma once

#include "server/cli/cli.h"

void help_command(const struct cli_command *k, FILE *out);
/* Those whose name begins with `prefix`; how many there are. */
int help_commands(const struct cli_command *all, const char *prefix, FILE *out);
/* headend(1) in roff, man(7): every command, every setting. */
void help_man(const struct cli_command *all, FILE *out);
