#include "common/adapters/store_inside.h"

#include <openssl/evp.h>

#include "common/base/asset.h"
#include "common/base/buf.h"

ASSET(lua_shared, "common/adapters/lua/shared.lua");
ASSET(lua_outbox_emit, "common/adapters/lua/outbox_emit.lua");
ASSET(lua_claim_send, "common/adapters/lua/claim_send.lua");
ASSET(lua_finish_send, "common/adapters/lua/finish_send.lua");
ASSET(lua_claim_verify, "common/adapters/lua/claim_verify.lua");
ASSET(lua_finish_verify, "common/adapters/lua/finish_verify.lua");
ASSET(lua_release, "common/adapters/lua/release.lua");
ASSET(lua_apply, "common/adapters/lua/apply.lua");
ASSET(lua_records, "common/adapters/lua/records.lua");

static const struct {
    struct slice (*source)(void); /* the script's own file */
    bool shared;                  /* shared.lua and outbox_emit.lua stand in front of it */
} script_rows[STORE_SCRIPTS] = {
    [STORE_CLAIM_SEND] = {lua_claim_send, true},
    [STORE_FINISH_SEND] = {lua_finish_send, true},
    [STORE_CLAIM_VERIFY] = {lua_claim_verify, true},
    [STORE_FINISH_VERIFY] = {lua_finish_verify, true},
    [STORE_RELEASE] = {lua_release, true},
    [STORE_APPLY] = {lua_apply, false},
    [STORE_RECORDS] = {lua_records, false},
};

enum { SCRIPT_BYTES_MAX = 64 * 1024 };

static struct {
    struct buf source;
    char sha[STORE_SHA_HEX + 1];
} scripts[STORE_SCRIPTS]; /* made on first use, never freed */

static void script_sha(struct slice source, char out[STORE_SHA_HEX + 1])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    must(EVP_Digest(source.p, source.n, sum, &n, EVP_sha1(), NULL) == 1);
    must(n * 2 == STORE_SHA_HEX);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", sum[i]);
    }
}

static void script_make(enum store_script script)
{
    struct buf *b = &scripts[script].source;
    buf_init(b, SCRIPT_BYTES_MAX);
    if (script_rows[script].shared) {
        buf_put_slice(b, lua_shared());
        buf_put_slice(b, lua_outbox_emit());
    }
    buf_put_slice(b, script_rows[script].source());
    must(buf_ok(b));
    script_sha(buf_slice(b), scripts[script].sha);
}

struct slice store_script_source(enum store_script script)
{
    must(script < STORE_SCRIPTS);
    if (scripts[script].source.p == NULL) {
        script_make(script);
    }
    return buf_slice(&scripts[script].source);
}

const char *store_script_sha(enum store_script script)
{
    (void)store_script_source(script);
    return scripts[script].sha;
}
