/* The answer to I: wire.h. */
#include "common/meaning/fields.h"
#include "common/meaning/wire.h"

#define ROW_U64(type, member)                                                                      \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_U64, FIELD_SKIP_ZERO), 0, UINT64_MAX,                   \
            #member ": a whole number"                                                             \
    }

#define INFO(member) ROW_U64(struct wire_info, member)
static const struct field info_rows[] = {
    {FIELD(struct wire_info, version, "version", FIELD_TEXT, 0), 0, 64, "version: a string"},
    {FIELD(struct wire_info, durability, "durability", FIELD_TEXT, 0), 0, 16,
     "durability: a string"},
    INFO(uptime_ms),
    INFO(queued),
    INFO(delayed),
    INFO(in_flight),
    INFO(storing),
    INFO(on_shelf),
    INFO(oldest_ms),
    INFO(workers),
    INFO(credit_free),
    INFO(clients),
    INFO(results_kept),
    INFO(bytes),
    INFO(routes_total),
    INFO(accepted),
    INFO(adopted),
    INFO(duplicates),
    INFO(conflicts),
    INFO(refused_full),
    INFO(done),
    INFO(refused),
    INFO(unknown),
    INFO(expired),
    INFO(cancelled),
    INFO(redispatched),
    {FIELD(struct wire_info, draining, "draining", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "draining: true or false"},
};
#undef INFO

#define ROUTE(member) ROW_U64(struct wire_info_route, member)
static const struct field route_rows[] = {
    {FIELD(struct wire_info_route, name, "name", FIELD_TEXT, FIELD_NEEDED), 1, WIRE_ROUTE_BYTES_MAX,
     "name: the route's name"},
    ROUTE(queued),
    ROUTE(delayed),
    ROUTE(in_flight),
    ROUTE(storing),
    ROUTE(on_shelf),
    ROUTE(oldest_ms),
    ROUTE(accepted),
    ROUTE(adopted),
    ROUTE(done),
    ROUTE(refused),
    ROUTE(unknown),
    ROUTE(expired),
    ROUTE(cancelled),
    ROUTE(redispatched),
    ROUTE(moved_out),
    ROUTE(moved_in),
    {FIELD(struct wire_info_route, paused, "paused", FIELD_BOOL, 0),
     .rule = "paused: true or false"},
    {FIELD(struct wire_info_route, held, "held", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "held: true or false"},
    {FIELD(struct wire_info_route, draining, "draining", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "draining: true or false"},
    {FIELD(struct wire_info_route, stored, "stored", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "stored: true or false"},
    {FIELD(struct wire_info_route, breaker, "breaker", FIELD_U8, 0), 0, 2, "breaker: 0, 1 or 2"},
};
#undef ROUTE

void wire_put_info(struct buf *b, struct slice id, const struct wire_info *info,
                   const struct wire_info_route *routes, uint32_t count)
{
    must(count <= WIRE_INFO_ROUTES_MAX);
    pack_put_map(b, id.n > 0 ? 1 : 0);
    if (id.n > 0) {
        pack_put_str(b, SLICE("id"));
        pack_put_str(b, id);
    }
    pack_put_map(b, 2);
    pack_put_str(b, SLICE("broker"));
    fields_put(b, &FIELDS(info_rows), info);
    pack_put_str(b, SLICE("routes"));
    pack_put_array(b, count);
    for (uint32_t i = 0; i < count; i++) {
        fields_put(b, &FIELDS(route_rows), &routes[i]);
    }
}

static bool read_routes(struct pack *p, struct wire_info_route *routes, uint32_t *count,
                        const char **error)
{
    uint32_t items;
    if (!pack_read_array(p, &items)) {
        *error = p->error;
        return false;
    }
    if (items > WIRE_INFO_ROUTES_MAX) {
        *error = "routes: at most 200";
        return false;
    }
    for (*count = 0; *count < items; (*count)++) {
        struct wire_info_route *r = &routes[*count];
        *r = (struct wire_info_route){0};
        if (fields_read(p, &FIELDS(route_rows), PACK_DEPTH_MAX - 3, r, error) != FIELDS_OK) {
            *error = p->error != NULL ? p->error : *error;
            return false;
        }
    }
    return true;
}

static bool read_part(struct pack *p, struct wire_info *info, struct wire_info_route *routes,
                      uint32_t *count, const char **error)
{
    struct slice key, skipped;
    if (!pack_read_str(p, &key)) {
        *error = p->error;
        return false;
    }
    if (slice_is(key, "routes")) {
        return read_routes(p, routes, count, error);
    }
    bool ok = slice_is(key, "broker")
                  ? fields_read(p, &FIELDS(info_rows), PACK_DEPTH_MAX - 2, info, error) == FIELDS_OK
                  : pack_skip_levels(p, PACK_DEPTH_MAX - 1, &skipped);
    *error = p->error != NULL ? p->error : *error;
    return ok;
}

bool wire_info_decode(struct slice body, struct wire_info *info, struct wire_info_route *routes,
                      uint32_t *count, const char **error)
{
    struct pack p = pack_over(body);
    uint32_t pairs;
    *info = (struct wire_info){0};
    *count = 0;
    *error = NULL;
    if (!pack_read_map(&p, &pairs)) {
        *error = p.error;
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (!read_part(&p, info, routes, count, error)) {
            return false;
        }
    }
    return true;
}
