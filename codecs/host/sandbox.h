/*
 * sandbox.h - what a codec-host may still do once its engine is warm: compute,
 * and talk on the descriptors it has.
 */
#pragma once

/* Before the engine: no new privileges, no files, no core. 0 or -errno. */
int sandbox_limits(void);
/* After it: the system calls of a running engine and no others. */
int sandbox_close(void);
