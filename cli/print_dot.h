#ifndef APMP_CLI_PRINT_DOT_H
#define APMP_CLI_PRINT_DOT_H

#include <jansson.h>

/* Prints the nodes of a tree as a graph for dot(1). */
void print_dot(const json_t *nodes);

#endif
