#ifndef APMP_CLI_TERMINAL_H
#define APMP_CLI_TERMINAL_H

/* Standard input as a raw terminal: ^C and the rest are bytes, and ^] is the key that is ours. */

#include <stdbool.h>

enum { TERMINAL_KEY = 0x1d }; /* ^] */

/* Whether standard input is a terminal, which is raw from now on; what is printed is still ended
 * by a newline alone. Signals that end us give it back first. */
bool terminal_take(void);
void terminal_give_back(void);

#endif
