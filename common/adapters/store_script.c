#include "common/adapters/store_inside.h"

#include <openssl/evp.h>

#include "common/base/asset.h"
#include "common/base/buf.h"

ASSET(lua_shared, "common/adapters/lua/shared.lua");
ASSET(lua_outbox_emit, "common/adapters/lua/outbox_emit.lua");
ASSET(lua_session, "common/adapters/lua/session.lua");
ASSET(lua_claim_send, "common/adapters/lua/claim_send.lua");
ASSET(lua_finish_send, "common/adapters/lua/finish_send.lua");
ASSET(lua_claim_verify, "common/adapters/lua/claim_verify.lua");
ASSET(lua_finish_verify, "common/adapters/lua/finish_verify.lua");
ASSET(lua_release, "common/adapters/lua/release.lua");
ASSET(lua_report_apply, "common/adapters/lua/report_apply.lua");
ASSET(lua_report, "common/adapters/lua/report.lua");
ASSET(lua_flash_reserve, "common/adapters/lua/flash_reserve.lua");
ASSET(lua_flash_look, "common/adapters/lua/flash_look.lua");
ASSET(lua_outbox_shared, "common/adapters/lua/outbox_shared.lua");
ASSET(lua_outbox_due, "common/adapters/lua/outbox_due.lua");
ASSET(lua_outbox_claim, "common/adapters/lua/outbox_claim.lua");
ASSET(lua_outbox_finish, "common/adapters/lua/outbox_finish.lua");
ASSET(lua_outbox_put, "common/adapters/lua/outbox_put.lua");
ASSET(lua_outbox_list, "common/adapters/lua/outbox_list.lua");
ASSET(lua_outbox_replay, "common/adapters/lua/outbox_replay.lua");
ASSET(lua_apply, "common/adapters/lua/apply.lua");
ASSET(lua_records, "common/adapters/lua/records.lua");

/* What stands in front of a script. */
enum prelude {
    ALONE,
    OF_JOBS,    /* shared.lua, outbox_emit.lua, session.lua */
    OF_REPORTS, /* the same and report_apply.lua */
    OF_TASKS /* outbox_shared.lua */
};

static const struct {
    struct slice (*source)(void); /* the script's own file */
    enum prelude prelude;
} script_rows[STORE_SCRIPTS] = {
    [STORE_CLAIM_SEND] = {lua_claim_send, OF_REPORTS},
    [STORE_FINISH_SEND] = {lua_finish_send, OF_REPORTS},
    [STORE_CLAIM_VERIFY] = {lua_claim_verify, OF_JOBS},
    [STORE_FINISH_VERIFY] = {lua_finish_verify, OF_JOBS},
    [STORE_RELEASE] = {lua_release, OF_JOBS},
    [STORE_REPORT] = {lua_report, OF_REPORTS},
    [STORE_FLASH_RESERVE] = {lua_flash_reserve, ALONE},
    [STORE_FLASH_LOOK] = {lua_flash_look, ALONE},
    [STORE_OUTBOX_DUE] = {lua_outbox_due, OF_TASKS},
    [STORE_OUTBOX_CLAIM] = {lua_outbox_claim, OF_TASKS},
    [STORE_OUTBOX_FINISH] = {lua_outbox_finish, OF_TASKS},
    [STORE_OUTBOX_PUT] = {lua_outbox_put, OF_TASKS},
    [STORE_OUTBOX_LIST] = {lua_outbox_list, OF_TASKS},
    [STORE_OUTBOX_REPLAY] = {lua_outbox_replay, OF_TASKS},
    [STORE_APPLY] = {lua_apply, ALONE},
    [STORE_RECORDS] = {lua_records, ALONE},
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
    enum prelude prelude = script_rows[script].prelude;
    if (prelude == OF_JOBS || prelude == OF_REPORTS) {
        buf_put_slice(b, lua_shared());
        buf_put_slice(b, lua_outbox_emit());
        buf_put_slice(b, lua_session());
    }
    if (prelude == OF_REPORTS) {
        buf_put_slice(b, lua_report_apply());
    } else if (prelude == OF_TASKS) {
        buf_put_slice(b, lua_outbox_shared());
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
