#include "common/adapters/memory.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unicode/uclean.h>

#include "common/base/check.h"

static void *fresh(size_t n)
{
    return xmalloc(n);
}

static void *zeroed(size_t count, size_t size)
{
    return xcalloc(count, size);
}

static void *resized(void *old, size_t n)
{
    return xrealloc(old, n);
}

static char *copied(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(xmalloc(n), text, n);
}

static void *crypto_fresh(size_t n, const char *file UNUSED, int line UNUSED)
{
    return xmalloc(n);
}

static void *crypto_resized(void *old, size_t n, const char *file UNUSED, int line UNUSED)
{
    if (n == 0) { /* frees, in OpenSSL */
        free(old);
        return NULL;
    }
    return xrealloc(old, n);
}

static void crypto_free(void *p, const char *file UNUSED, int line UNUSED)
{
    free(p);
}

static void *icu_fresh(const void *context UNUSED, size_t n)
{
    return xmalloc(n);
}

static void *icu_resized(const void *context UNUSED, void *old, size_t n)
{
    return xrealloc(old, n);
}

static void icu_free(const void *context UNUSED, void *p)
{
    free(p);
}

/* libphonenumber compiles its patterns once: without one, no number would be a number any more. */
static void icu_ends_in_order(void)
{
    UErrorCode status = U_ZERO_ERROR;
    u_setMemoryFunctions(NULL, icu_fresh, icu_resized, icu_free, &status);
    must(U_SUCCESS(status));
}

void memory_ends_in_order(void)
{
    json_set_alloc_funcs(fresh, free);
    event_set_mem_functions(fresh, resized, free);
    must(CRYPTO_set_mem_functions(crypto_fresh, crypto_resized, crypto_free) == 1);
    icu_ends_in_order();
    memory_new_ends_in_order();
}

void memory_init_curl(void)
{
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, fresh, free, resized, copied, zeroed) !=
        CURLE_OK) {
        end_without("libcurl cannot start");
    }
}
