/* The socket on which an instance serves the programs of its partition (shm/wire/app.h). */
#ifndef APMPD_APP_SOCKET_H
#define APMPD_APP_SOCKET_H

#include "shm/wire/app.h"

struct apmp_app_socket {
	int fd; /* listening, for the instance */
	/* "APMP_INSTANCE=ADDRESS:WORD", for the instance and its programs */
	char variable[APMP_APP_VARIABLE_SIZE];
};

/* Makes one for a new life of a partition, with an address and a word that no other has.
 * -errno of getrandom(), socket(), bind() or listen(). */
__attribute__((warn_unused_result)) int
apmp_app_socket_make(const char *machine, const char *partition, struct apmp_app_socket *ret);

#endif
