/* Claims of ingest/link.h. */
#include "ingest/link.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(int got, const char *name)
{
    assert_string_equal(err_name(got), name);
}

static void expect_str(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static struct bytes whole_record(const struct buf *b, enum link_type want)
{
    enum link_type type = 0;
    struct bytes body = {0};

    assert_int_equal(link_record(buf_view(b), &type, &body), b->n);
    assert_int_equal(type, want);
    return body;
}

static void config_comes_back_as_it_went(void **state)
{
    struct link_config in = {.url = STR("mqtts://broker.example:8883"),
                             .client_id = STR("headend-7-0"),
                             .username = STR("u"),
                             .password = STR("p w"),
                             .ca_file = STR("/etc/ca.pem"),
                             .payload_max = 262144,
                             .n_topics = 2,
                             .topics = {STR("a/+/up"), STR("a/+/join")}};
    struct link_config out = {0};
    struct buf b = {0};
    struct bytes body;

    (void)state;
    link_put_config(&b, &in);
    body = whole_record(&b, LINK_CONFIG);
    expect(link_get_config(&body, &out), "ok");
    expect_str(out.url, "mqtts://broker.example:8883");
    expect_str(out.client_id, "headend-7-0");
    expect_str(out.username, "u");
    expect_str(out.password, "p w");
    expect_str(out.ca_file, "/etc/ca.pem");
    expect_str(out.cert_file, "");
    expect_str(out.key_file, "");
    assert_int_equal(out.payload_max, 262144);
    assert_int_equal(out.n_topics, 2);
    expect_str(out.topics[1], "a/+/join");
    buf_done(&b);
}

static void frame_ack_and_state_come_back(void **state)
{
    struct buf b = {0};
    struct bytes body;
    struct str topic, payload, text;
    enum link_state link;
    uint64_t id;
    uint32_t size;

    (void)state;
    link_put_frame(&b, UINT64_C(1) << 40, 300000, STR("t/up"), STR("{}"));
    body = whole_record(&b, LINK_FRAME);
    expect(link_get_frame(&body, &id, &size, &topic, &payload), "ok");
    assert_true(id == UINT64_C(1) << 40);
    assert_int_equal(size, 300000);
    expect_str(topic, "t/up");
    expect_str(payload, "{}");

    buf_clear(&b);
    link_put_ack(&b, 17);
    body = whole_record(&b, LINK_ACK);
    expect(link_get_ack(&body, &id), "ok");
    assert_int_equal(id, 17);

    buf_clear(&b);
    link_put_state(&b, LINK_LOST, STR("refused"));
    body = whole_record(&b, LINK_STATE);
    expect(link_get_state(&body, &link, &text), "ok");
    assert_int_equal(link, LINK_LOST);
    expect_str(text, "refused");

    buf_clear(&b);
    link_put_publish(&b, STR("down"), STR("{}"));
    body = whole_record(&b, LINK_PUBLISH);
    expect(link_get_publish(&body, &topic, &payload), "ok");
    expect_str(topic, "down");
    expect_str(payload, "{}");
    buf_done(&b);
}

static void part_of_a_record_waits_for_more(void **state)
{
    enum link_type type;
    struct bytes body;
    struct buf b = {0};

    (void)state;
    link_put_frame(&b, 1, 2, STR("t"), STR("{}"));
    link_put_ack(&b, 2);
    for (size_t n = 0; n < b.n; n++) {
        struct str part = {(const char *)b.p, n};
        int r = link_record(part, &type, &body);
        assert_int_equal(r, n < b.n - 13 ? 0 : b.n - 13);
    }
    buf_done(&b);
}

static int record_of(const char *bytes, size_t n)
{
    enum link_type type;
    struct bytes body;

    return link_record((struct str){bytes, n}, &type, &body);
}

static void lengths_and_types_are_not_believed(void **state)
{
    (void)state;
    expect(record_of("\0\0\0\0", 4), "ERR_FORMAT");
    expect(record_of("\1\0\x10\0", 4), "ERR_FORMAT"); /* 1 MiB + 1 */
    expect(record_of("\xff\xff\xff\xff\2", 5), "ERR_FORMAT");
    expect(record_of("\1\0\0\0\0", 5), "ERR_FORMAT");
    expect(record_of("\1\0\0\0\6", 5), "ERR_FORMAT");
    assert_int_equal(record_of("\1\0\0\0\3", 5), 5);
}

static void bodies_end_where_they_say(void **state)
{
    static const uint8_t frame[] = {1, 0, 0, 0, 0,   0, 0, 0, 1, 0,   0,  0,
                                    1, 0, 0, 0, 't', 2, 0, 0, 0, '{', '}'};
    struct bytes body = bytes_of(frame, sizeof frame);
    struct str topic, payload;
    enum link_state link;
    uint64_t id = 5;
    uint32_t size;

    (void)state;
    expect(link_get_frame(&body, &id, &size, &topic, &payload),
           "ERR_FORMAT"); /* two bytes of payload in a message of one */
    body = bytes_of(frame, sizeof frame - 1);
    expect(link_get_frame(&body, &id, &size, &topic, &payload), "ERR_SHORT");
    body = bytes_of(frame, 9);
    expect(link_get_ack(&body, &id), "ERR_FORMAT");
    body = bytes_of(frame, 7);
    expect(link_get_ack(&body, &id), "ERR_SHORT");
    assert_int_equal(id, 5);
    body = bytes_of("\4\0\0\0", 5);
    expect(link_get_state(&body, &link, &topic), "ERR_FORMAT");
}

static void config_with_too_many_topics_is_refused(void **state)
{
    struct link_config out;
    uint8_t raw[7 * 4 + 8] = {0};
    struct bytes body = bytes_of(raw, sizeof raw);

    (void)state;
    raw[7 * 4 + 4] = LINK_TOPICS + 1;
    expect(link_get_config(&body, &out), "ERR_FORMAT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_comes_back_as_it_went),
        cmocka_unit_test(frame_ack_and_state_come_back),
        cmocka_unit_test(part_of_a_record_waits_for_more),
        cmocka_unit_test(lengths_and_types_are_not_believed),
        cmocka_unit_test(bodies_end_where_they_say),
        cmocka_unit_test(config_with_too_many_topics_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
