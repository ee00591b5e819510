/*
 * bridge.h - the body of `headend bridge`: paho on one side, the server's
 * socket (fd) on the other. Blocks until the server goes away (the process
 * ends with 3) or tells it to end (SIGTERM: with 0), and then does not return:
 * paho's threads are still there. Returns 1 when it could not begin.
 */
#pragma once

int bridge_run(int fd);
