/* state_path.c - where machines keep what outlives power off. */
#include "shm/wire/state_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int apmp_state_parent(char *ret_path, size_t size, size_t *ret_fixed)
{
	const char *dir = getenv(STATE_PATH_VARIABLE), *home = getenv("HOME");
	int n;

	if (dir && *dir) {
		*ret_fixed = 1;
		n = snprintf(ret_path, size, "%s", dir);
	} else if (home && *home) {
		*ret_fixed = strlen(home);
		n = snprintf(ret_path, size, "%s/.local/state", home);
	} else {
		return -ENOENT;
	}
	if (ret_path[0] != '/')
		return -EINVAL;
	while (n > 1 && (size_t)n < size && ret_path[n - 1] == '/')
		ret_path[--n] = '\0';
	return (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int apmp_state_base(char *ret_path, size_t path_size)
{
	size_t fixed, length;
	int error = apmp_state_parent(ret_path, path_size, &fixed);

	if (error)
		return error;
	length = strlen(ret_path);
	if ((size_t)snprintf(ret_path + length, path_size - length, "/apmp") >= path_size - length)
		return -ENAMETOOLONG;
	return 0;
}
