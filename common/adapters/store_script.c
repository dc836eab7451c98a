#include "common/adapters/store_inside.h"

#include <openssl/evp.h>

#include "common/base/asset.h"
#include "common/base/buf.h"

ASSET(lua_cluster_guard, "common/adapters/lua/cluster_guard.lua");
ASSET(lua_shared, "common/adapters/lua/shared.lua");
ASSET(lua_outbox_emit, "common/adapters/lua/outbox_emit.lua");
ASSET(lua_session, "common/adapters/lua/session.lua");
ASSET(lua_tell, "common/adapters/lua/tell.lua");
ASSET(lua_claim_send, "common/adapters/lua/claim_send.lua");
ASSET(lua_finish_send, "common/adapters/lua/finish_send.lua");
ASSET(lua_claim_verify, "common/adapters/lua/claim_verify.lua");
ASSET(lua_finish_verify, "common/adapters/lua/finish_verify.lua");
ASSET(lua_release, "common/adapters/lua/release.lua");
ASSET(lua_reassert, "common/adapters/lua/reassert.lua");
ASSET(lua_report_apply, "common/adapters/lua/report_apply.lua");
ASSET(lua_over_send, "common/adapters/lua/over_send.lua");
ASSET(lua_over_verify, "common/adapters/lua/over_verify.lua");
ASSET(lua_reap, "common/adapters/lua/reap.lua");
ASSET(lua_unknown_list, "common/adapters/lua/unknown_list.lua");
ASSET(lua_unknown_resolve, "common/adapters/lua/unknown_resolve.lua");
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
ASSET(lua_control, "common/adapters/lua/control.lua");
ASSET(lua_apply, "common/adapters/lua/apply.lua");
ASSET(lua_records, "common/adapters/lua/records.lua");
ASSET(lua_brokers_beat, "common/adapters/lua/brokers_beat.lua");
ASSET(lua_shelf_open, "common/adapters/lua/shelf_open.lua");
ASSET(lua_shelf_commit, "common/adapters/lua/shelf_commit.lua");
ASSET(lua_shelf_take, "common/adapters/lua/shelf_take.lua");
ASSET(lua_shelf_drop, "common/adapters/lua/shelf_drop.lua");
ASSET(lua_dead_put, "common/adapters/lua/dead_put.lua");
ASSET(lua_dead_list, "common/adapters/lua/dead_list.lua");
ASSET(lua_dead_take, "common/adapters/lua/dead_take.lua");
ASSET(lua_budget, "common/adapters/lua/budget.lua");

/* A script's parts stand in this order, each at most once. Redis makes every function of a script
 * anew whenever it runs, so a script has only what it calls, and what few runs call is made by a
 * function of its own, telling(): most sends have nobody to tell. */
enum part {
    PARTS_END,
    SHARED,
    SESSION,
    EMIT,
    TELL,
    APPLY,
    OVER_SEND,
    OVER_VERIFY,
    TASKS,
    LATER,
    LATER_END
};

enum { PARTS_MAX = 9 };

static struct slice later_begin(void)
{
    return SLICE("local function telling()\n");
}

static struct slice later_end(void)
{
    return SLICE(
        "return {session_sent = session_sent, send = tell_send, better = tell_better,\n"
        "        told = told, starts = starts, reporting = reporting, over = send_over}\nend\n");
}

static struct slice (*const part_sources[])(void) = {
    [SHARED] = lua_shared,       [SESSION] = lua_session,
    [EMIT] = lua_outbox_emit,    [TELL] = lua_tell,
    [APPLY] = lua_report_apply,  [TASKS] = lua_outbox_shared,
    [LATER] = later_begin,       [LATER_END] = later_end,
    [OVER_SEND] = lua_over_send, [OVER_VERIFY] = lua_over_verify,
};

static const struct {
    struct slice (*source)(void); /* the script's own file */
    enum part parts[PARTS_MAX];   /* what stands before it */
} script_rows[STORE_SCRIPTS] = {
    [STORE_CLAIM_SEND] = {lua_claim_send,
                          {SHARED, LATER, SESSION, EMIT, TELL, APPLY, OVER_SEND, LATER_END}},
    [STORE_FINISH_SEND] = {lua_finish_send,
                           {SHARED, SESSION, LATER, EMIT, TELL, APPLY, OVER_SEND, LATER_END}},
    [STORE_CLAIM_VERIFY] = {lua_claim_verify, {SHARED, SESSION, EMIT, TELL, OVER_VERIFY}},
    [STORE_FINISH_VERIFY] = {lua_finish_verify, {SHARED, SESSION, EMIT, TELL}},
    [STORE_RELEASE] = {lua_release, {SHARED, SESSION}},
    [STORE_REASSERT] = {lua_reassert, {PARTS_END}},
    [STORE_REAP] = {lua_reap, {SHARED, SESSION, EMIT, TELL, APPLY, OVER_SEND, OVER_VERIFY}},
    [STORE_UNKNOWN_LIST] = {lua_unknown_list, {TASKS}},
    [STORE_UNKNOWN_RESOLVE] = {lua_unknown_resolve, {SHARED, SESSION, EMIT, TELL, APPLY}},
    [STORE_REPORT] = {lua_report, {SHARED, EMIT, TELL, APPLY}},
    [STORE_FLASH_RESERVE] = {lua_flash_reserve, {PARTS_END}},
    [STORE_FLASH_LOOK] = {lua_flash_look, {PARTS_END}},
    [STORE_OUTBOX_DUE] = {lua_outbox_due, {TASKS}},
    [STORE_OUTBOX_CLAIM] = {lua_outbox_claim, {TASKS}},
    [STORE_OUTBOX_FINISH] = {lua_outbox_finish, {TASKS}},
    [STORE_OUTBOX_PUT] = {lua_outbox_put, {TASKS}},
    [STORE_OUTBOX_LIST] = {lua_outbox_list, {TASKS}},
    [STORE_OUTBOX_REPLAY] = {lua_outbox_replay, {TASKS}},
    [STORE_CONTROL] = {lua_control, {PARTS_END}},
    [STORE_APPLY] = {lua_apply, {PARTS_END}},
    [STORE_RECORDS] = {lua_records, {PARTS_END}},
    [STORE_BROKERS_BEAT] = {lua_brokers_beat, {PARTS_END}},
    [STORE_SHELF_OPEN] = {lua_shelf_open, {PARTS_END}},
    [STORE_SHELF_COMMIT] = {lua_shelf_commit, {PARTS_END}},
    [STORE_SHELF_TAKE] = {lua_shelf_take, {PARTS_END}},
    [STORE_SHELF_DROP] = {lua_shelf_drop, {PARTS_END}},
    [STORE_DEAD_PUT] = {lua_dead_put, {PARTS_END}},
    [STORE_DEAD_LIST] = {lua_dead_list, {PARTS_END}},
    [STORE_DEAD_TAKE] = {lua_dead_take, {PARTS_END}},
    [STORE_BUDGET] = {lua_budget, {PARTS_END}},
};

enum { SCRIPT_BYTES_MAX = 64 * 1024 };

/* As a server alone is sent it, and as a node of a cluster is: two texts, two names. */
static struct script {
    struct buf source;
    char sha[STORE_SHA_HEX + 1];
} scripts[STORE_SCRIPTS][2]; /* made on first use, never freed */

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

static void script_make(enum store_script which, bool guarded, struct script *out)
{
    struct buf *b = &out->source;
    buf_init(b, SCRIPT_BYTES_MAX);
    if (guarded) {
        buf_put_slice(b, lua_cluster_guard());
    }
    const enum part *parts = script_rows[which].parts;
    for (size_t i = 0; i < PARTS_MAX && parts[i] != PARTS_END; i++) {
        buf_put_slice(b, part_sources[parts[i]]());
    }
    buf_put_slice(b, script_rows[which].source());
    must(buf_ok(b));
    script_sha(buf_slice(b), out->sha);
}

static const struct script *script_of(enum store_script which, bool guarded)
{
    must(which < STORE_SCRIPTS);
    struct script *script = &scripts[which][guarded ? 1 : 0];
    if (script->source.p == NULL) {
        script_make(which, guarded, script);
    }
    return script;
}

struct slice store_script_text(enum store_script script, bool guarded)
{
    return buf_slice(&script_of(script, guarded)->source);
}

const char *store_script_sha(enum store_script script, bool guarded)
{
    return script_of(script, guarded)->sha;
}

struct slice store_script_source(enum store_script script)
{
    return store_script_text(script, false);
}
