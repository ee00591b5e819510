/*
 * etag.c - see etag.h.
 */
#include "server/api/etag.h"

#include <stdio.h>

enum { ANSWER_MOST = 64 << 10, REVISION_DIGITS = 18 };

/* "12" with its quotes: the digits; else nothing. */
static struct str revision_of(struct str tag)
{
    struct str n = tag.n > 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"'
                       ? (struct str){tag.p + 1, tag.n - 2}
                       : (struct str){0};

    for (size_t i = 0; i < n.n; i++)
        if (n.p[i] < '0' || n.p[i] > '9' || n.n > REVISION_DIGITS)
            return (struct str){0};
    return n;
}

/* {"a": 1} becomes {"revision":12,"a": 1}, parsed and as text. */
static void put_revision(struct call *c, struct json *body, struct str n)
{
    struct arena *a = http_arena(c->r);
    struct json *member = arena_alloc(a, sizeof *member);
    const char *rest = memchr(c->body_text.p, '{', c->body_text.n);

    if (!member || !rest)
        return;
    *member = (struct json){.type = JSON_NUMBER,
                            .text = n,
                            .name = STR("revision"),
                            .next = body->child};
    rest++;
    c->body_text = arena_printf(
        a, "{\"revision\":%.*s%s%.*s", STR_ARGS(n), body->count ? "," : "",
        (int)(c->body_text.n - (size_t)(rest - c->body_text.p)), rest);
    body->child = member;
    body->count++;
}

bool etag_take(struct call *c, struct json *body)
{
    struct str tag = str_trim(http_header(c->r, "If-Match"));
    struct str n = revision_of(tag);
    const struct json *said = json_get(body, "revision");

    if (!tag.n || str_is(tag, "*") || strcmp(c->endpoint->method, "GET") == 0)
        return true;
    if (!field_find(c->endpoint, IN_BODY, STR("revision"))) {
        http_problem(c->r, 412, "If-Match",
                     "This operation compares no revisions.");
        return false;
    }
    if (!n.n || (said && !str_eq(said->text, n))) {
        http_problem(c->r, 412, "If-Match",
                     "If-Match takes the ETag of one answer, such as \"12\"; "
                     "a \"revision\" beside it must be the same.");
        return false;
    }
    if (!said)
        put_revision(c, body, n);
    return true;
}

void etag_give(struct call *c, struct str answer)
{
    struct json *found = NULL;
    struct json_error why;
    char tag[REVISION_DIGITS + 3];

    if (answer.n > ANSWER_MOST ||
        !memmem(answer.p, answer.n, "\"revision\"", 10) ||
        json_parse(http_arena(c->r), answer, (struct json_limits){0}, &found,
                   &why) < 0)
        return;
    const struct json *revision = json_get(found, "revision");
    if (!revision || revision->type != JSON_NUMBER ||
        revision->text.n > REVISION_DIGITS)
        return;
    snprintf(tag, sizeof tag, "\"%.*s\"", STR_ARGS(revision->text));
    http_set_header(c->r, "ETag", tag);
}
