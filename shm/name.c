/* name.c - what may be a name. */
#include "shm/name.h"

#include <string.h>

bool apmp_name_valid(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t length = name ? strnlen(name, APMP_NAME_SIZE) : 0;

	return length > 0 && length < APMP_NAME_SIZE && strchr(first, name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == length;
}
