/*
 * gate.h - inside of the room: password hashes are heavy (64 MiB, a core for
 * 0.1 s), so few are made at a time, some wait in line, the rest is told to
 * come back; and an address that guesses is slowed. Loop thread only.
 */
#pragma once

#include "server/api/call.h"
#include "server/api/password.h"

/* One check of a password, and the hash of a new one where there is one. */
struct password_job {
    struct call *call;
    struct str given;   /* to be verified against `stored`; empty: nothing to */
    const char *stored; /* NULL: there is no such account */
    struct str fresh;   /* to be hashed once `given` was good; empty: none */
    void (*done)(struct password_job *j);
    bool good;                /* in done: `given` was right */
    int err;                  /* in done: ERR_FULL, no memory for the hash */
    char hash[PASSWORD_HASH]; /* in done: of `fresh` */
    struct password_job *next;
};

struct login_gate *login_gate_new(void);
void login_gate_free(struct login_gate *g);
/* The job lives in the call's arena. Answers 429 where the line is too long
 * or the address has guessed too often; else `done` runs once, later. */
void gate_run(struct password_job *j);
/* accounts.c: runs endpoint->sql with $1 tenant, $2 the body or the path's id,
 * $3 the hash of a generated password, $4 that password. */
void invite_serve(struct call *c);
/* False after 429 was answered: its address has guessed too often. */
bool gate_allows(struct call *c);
/* Counts against the address of the call. */
void gate_wrong(struct call *c);
