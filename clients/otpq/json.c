#include "clients/otpq/client.h"

#include "common/meaning/pack.h"

static json_t *read_value(struct pack *p, unsigned levels);

/* Bytes that are no UTF-8 cannot stand in JSON; what is not ASCII becomes '?' then. */
static json_t *text_value(struct slice s)
{
    json_t *text = json_stringn(s.n > 0 ? s.p : "", s.n);
    if (text != NULL) {
        return text;
    }
    char *copy = slice_dup(s);
    for (size_t i = 0; i < s.n; i++) {
        copy[i] = (copy[i] & 0x80) != 0 ? '?' : copy[i];
    }
    text = json_stringn(copy, s.n);
    free(copy);
    return text;
}

static json_t *read_map(struct pack *p, unsigned levels)
{
    uint32_t pairs;
    json_t *map = json_object();
    bool ok = pack_read_map(p, &pairs);
    for (uint32_t i = 0; ok && i < pairs; i++) {
        struct slice key;
        ok = pack_read_str(p, &key);
        if (ok) {
            char *name = slice_dup(key);
            ok = json_object_set_new(map, name, read_value(p, levels)) == 0;
            free(name);
        }
    }
    if (!ok) {
        json_decref(map);
        return NULL;
    }
    return map;
}

static json_t *read_array(struct pack *p, unsigned levels)
{
    uint32_t items;
    json_t *array = json_array();
    bool ok = pack_read_array(p, &items);
    for (uint32_t i = 0; ok && i < items; i++) {
        ok = json_array_append_new(array, read_value(p, levels)) == 0;
    }
    if (!ok) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *read_scalar(struct pack *p)
{
    struct slice s;
    int64_t number;
    bool truth;
    switch (pack_peek(p)) {
    case PACK_BOOL:
        return pack_read_bool(p, &truth) ? json_boolean(truth) : NULL;
    case PACK_UINT:
    case PACK_INT:
        return pack_read_int(p, &number) ? json_integer(number) : NULL;
    case PACK_STR:
    case PACK_BIN:
        return pack_read_str(p, &s) ? text_value(s) : NULL;
    default: /* nil, and the kinds that otpq never writes */
        return pack_skip(p, &s) ? json_null() : NULL;
    }
}

static json_t *read_value(struct pack *p, unsigned levels)
{
    enum pack_type type = pack_peek(p);
    if (type != PACK_MAP && type != PACK_ARRAY) {
        return read_scalar(p);
    }
    if (levels == 0) {
        return NULL;
    }
    return type == PACK_MAP ? read_map(p, levels - 1) : read_array(p, levels - 1);
}

json_t *client_json_of(struct slice msgpack)
{
    struct pack p = pack_over(msgpack);
    return read_value(&p, PACK_DEPTH_MAX);
}

static bool put_value(struct buf *b, const json_t *value, unsigned levels)
{
    const char *key;
    json_t *child;
    size_t i;
    bool ok = true;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        pack_put_map(b, (uint32_t)json_object_size(value));
        json_object_foreach((json_t *)(uintptr_t)value, key, child)
        {
            pack_put_str(b, slice_of(key));
            ok = ok && levels > 0 && put_value(b, child, levels - 1);
        }
        return ok;
    case JSON_ARRAY:
        pack_put_array(b, (uint32_t)json_array_size(value));
        json_array_foreach(value, i, child)
        {
            ok = ok && levels > 0 && put_value(b, child, levels - 1);
        }
        return ok;
    case JSON_STRING:
        pack_put_str(b, slice_make(json_string_value(value), json_string_length(value)));
        return true;
    case JSON_INTEGER:
        pack_put_int(b, json_integer_value(value));
        return true;
    case JSON_NULL:
        pack_put_nil(b);
        return true;
    case JSON_REAL:
        return false;
    default:
        pack_put_bool(b, json_is_true(value));
        return true;
    }
}

bool client_pack_json(struct buf *b, const json_t *value)
{
    return put_value(b, value, PACK_DEPTH_MAX) && buf_ok(b);
}
