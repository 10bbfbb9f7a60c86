/*
 * service_cpu.h - the segment of service "cpu", for the table in service.c.
 */
#ifndef APMP_SHM_SERVICE_CPU_H
#define APMP_SHM_SERVICE_CPU_H

#include "shm/service.h"

extern const struct apmp_service apmp_service_cpu;

#endif
