/* apmp - the operator's command line of a machine. The commands are in command.c's table. */
#include "cli/command.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
