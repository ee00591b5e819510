/*
 * test_seal.c - what is sealed opens with its key, in its place, unchanged;
 * and not otherwise.
 */
#include "server/base/err.h"
#include "server/vault/vault.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CLEAR STR("0102030405060708090A0B0C0D0E0F10")

static const uint8_t key[VAULT_KEY] = {1, 2, 3};

static void sealed_bytes_open_in_their_place_alone(void **state)
{
    struct buf sealed = {0};
    uint8_t other[VAULT_KEY] = {1, 2, 4}, out[64];

    (void)state;
    seal_close(key, STR("secret|1"), CLEAR, &sealed);
    assert_int_equal(sealed.n, CLEAR.n + SEAL_EXTRA);
    assert_null(memmem(sealed.p, sealed.n, CLEAR.p, CLEAR.n));
    struct str s = buf_view(&sealed);
    assert_int_equal(seal_open(key, STR("secret|1"), s, out, sizeof out),
                     CLEAR.n);
    assert_memory_equal(out, CLEAR.p, CLEAR.n);
    assert_int_equal(seal_open(key, STR("secret|2"), s, out, sizeof out),
                     ERR_DAMAGED);
    assert_int_equal(seal_open(other, STR("secret|1"), s, out, sizeof out),
                     ERR_DAMAGED);
    assert_int_equal(seal_open(key, STR("secret|1"), s, out, CLEAR.n - 1),
                     ERR_FULL);
    buf_done(&sealed);
}

static void no_byte_can_be_changed_or_cut(void **state)
{
    struct buf sealed = {0};
    uint8_t out[64];

    (void)state;
    seal_close(key, STR("x"), CLEAR, &sealed);
    for (size_t i = 0; i < sealed.n; i++) {
        sealed.p[i] ^= 0x10;
        assert_true(
            seal_open(key, STR("x"), buf_view(&sealed), out, sizeof out) < 0);
        sealed.p[i] ^= 0x10;
        assert_true(seal_open(key, STR("x"), (struct str){(char *)sealed.p, i},
                              out, sizeof out) < 0);
    }
    buf_done(&sealed);
}

static void equal_secrets_look_different(void **state)
{
    struct buf a = {0}, b = {0};

    (void)state;
    seal_close(key, STR("x"), CLEAR, &a);
    seal_close(key, STR("x"), CLEAR, &b);
    assert_memory_not_equal(a.p + 1, b.p + 1, a.n - 1);
    buf_done(&a);
    buf_done(&b);
}

/* ---- vault ---- */

static struct vault *vault_of(uint32_t masters)
{
    struct vault *v = vault_new();
    struct masters *m = masters_new();

    while (masters--)
        masters_add(m);
    vault_masters(v, m);
    return v;
}

/* \x text back to bytes. */
static struct str bytes_of_text(const char *text, uint8_t *out, size_t cap)
{
    size_t n = 0;

    sodium_hex2bin(out, cap, text + 2, strlen(text + 2), NULL, &n, NULL);
    return (struct str){(char *)out, n};
}

static void a_secret_opens_for_its_tenant_row_and_column_alone(void **state)
{
    struct vault *v = vault_of(1);
    const struct secret_name name = {7, "integration", 3, "password"};
    const struct secret_name others[] = {{8, "integration", 3, "password"},
                                         {7, "meter_key", 3, "password"},
                                         {7, "integration", 4, "password"},
                                         {7, "integration", 3, "key"}};
    struct sealed s, more;
    uint8_t bytes[256], out[64];

    (void)state;
    assert_int_equal(vault_seal(v, &name, CLEAR, &s), 0);
    assert_int_equal(vault_renew(v, 8, &more), 0); /* another tenant's key 1 */
    struct str sealed = bytes_of_text(s.secret, bytes, sizeof bytes);
    assert_int_equal(vault_open(v, &name, 1, sealed, out, sizeof out), CLEAR.n);
    assert_memory_equal(out, CLEAR.p, CLEAR.n);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(vault_open(v, &others[i], 1, sealed, out, sizeof out),
                         ERR_DAMAGED);
    assert_int_equal(vault_open(v, &name, 2, sealed, out, sizeof out),
                     ERR_UNKNOWN);
    sealed_free(&s);
    sealed_free(&more);
    vault_free(v);
}

static void a_tenant_key_moves_to_the_new_master_and_renews(void **state)
{
    struct vault *v = vault_of(2), *later = vault_new();
    struct masters *m = masters_new();
    const struct secret_name name = {7, "meter_key", 3, "key"};
    struct sealed s, key_two;
    uint8_t secret[256], tenant_key[256], out[64];

    (void)state;
    vault_masters(later, m);
    assert_int_equal(vault_seal(v, &name, CLEAR, &s), 0);
    assert_int_equal(s.key_no, 1);
    assert_int_equal(vault_renew(v, 7, &key_two), 0);
    assert_int_equal(key_two.key_no, 2);
    assert_string_not_equal(key_two.check, s.check);
    struct str sealed = bytes_of_text(s.secret, secret, sizeof secret);
    /* Nobody without that master key gets anywhere. */
    assert_int_equal(
        vault_put_tenant_key(
            later, 7, 1, s.master,
            bytes_of_text(s.tenant_key, tenant_key, sizeof tenant_key)),
        ERR_UNKNOWN);
    assert_int_equal(vault_open(later, &name, 1, sealed, out, sizeof out),
                     ERR_UNKNOWN);
    assert_int_equal(vault_seal(later, &name, CLEAR, &s), ERR_UNKNOWN);
    sealed_free(&s);
    sealed_free(&key_two);
    vault_free(v);
    vault_free(later);
}

static void too_long_a_secret_is_refused(void **state)
{
    struct vault *v = vault_of(1);
    const struct secret_name name = {7, "x", 3, "y"};
    static char text[SECRET_MAX + 1];
    struct sealed s;

    (void)state;
    assert_int_equal(vault_seal(v, &name, (struct str){text, sizeof text}, &s),
                     ERR_RANGE);
    vault_free(v);
}

static int setup(void **state)
{
    (void)state;
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_bytes_open_in_their_place_alone),
        cmocka_unit_test(no_byte_can_be_changed_or_cut),
        cmocka_unit_test(equal_secrets_look_different),
        cmocka_unit_test(a_secret_opens_for_its_tenant_row_and_column_alone),
        cmocka_unit_test(a_tenant_key_moves_to_the_new_master_and_renews),
        cmocka_unit_test(too_long_a_secret_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
