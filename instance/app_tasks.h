/*
 * app_tasks.h - a connection that runs a program of tasks.
 */
#ifndef APMP_INSTANCE_APP_TASKS_H
#define APMP_INSTANCE_APP_TASKS_H

struct instance;
struct app;

/* A connection is for tasks from now on. */
void app_tasks_begin(struct app *app);
/* One message.  0, or -EPIPE: the connection is to be dropped. */
__attribute__((warn_unused_result)) int app_tasks_serve(struct instance *in, struct app *app);
/* The connection has ended: its program is asked to. */
void app_tasks_end(struct instance *in, struct app *app);
/* After the bell: programs of which no task is left are unloaded, and who started them is told. */
void app_tasks_look(struct instance *in);

#endif
