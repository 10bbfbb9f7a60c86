/* configure_standin.c - until shm/configure.c is there. */
#include "shm/configure.h"

#include <errno.h>

__attribute__((weak)) int apmp_configure(struct apmp_tree_writer *tw,
					 const struct apmp_call_request *request, int32_t by,
					 struct apmp_configured *ret)
{
	(void)tw;
	(void)request;
	(void)by;
	*ret = (struct apmp_configured){.reason = APMP_REASON_INVALID};
	return -EINVAL;
}
