/*
 * main.c - the one program; everything it can do is a subcommand (server/cli).
 */
#include "server/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
