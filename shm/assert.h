/*
 * assert.h - our own bugs, always compiled in.  Never used on memory that someone else can write.
 *
 * The program that links libapmp defines apmp_panic: it writes a panic record that outlives the
 * process (the flight recorder's) and aborts.
 */
#ifndef APMP_SHM_ASSERT_H
#define APMP_SHM_ASSERT_H

__attribute__((noreturn)) void apmp_panic(const char *file, int line, const char *what);

#define apmp_assert(cond) ((cond) ? (void)0 : apmp_panic(__FILE__, __LINE__, #cond))

#endif
