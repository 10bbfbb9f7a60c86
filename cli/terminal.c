/* The terminal of `apmp console`. */
#include "cli/terminal.h"

#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;

void terminal_give_back(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void on_signal(int signal)
{
	terminal_give_back();
	raise(signal); /* SA_RESETHAND: this one ends us */
}

bool terminal_take(void)
{
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER};
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag |= before.c_oflag & (OPOST | ONLCR);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	return true;
}
