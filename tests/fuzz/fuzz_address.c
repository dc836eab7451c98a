/* Addresses as operators write them, and paths and languages as browsers ask: the first byte
 * chooses, the rest is a text without NUL. */
#include <stdlib.h>

#include "common/meaning/netaddr.h"
#include "common/meaning/template_call.h"
#include "gateway/language.h"
#include "gateway/router.h"
#include "tests/fuzz/fuzz.h"

static void read_url(const char *text)
{
    struct yaml_error error = {""};
    struct dialect_reader r = {"fuzz", dialect_template.settings, &error};
    struct yaml_node map = {.kind = YAML_MAP, .line = 1, .column = 1};
    struct yaml_node node = {
        .kind = YAML_SCALAR, .line = 1, .column = 1, .text = (char *)(uintptr_t)text};
    struct template_call *c = xcalloc(1, sizeof(*c));
    if (!template_read_url(&r, &map, &node, c)) {
        must(error.text[0] != '\0');
    }
    template_call_destroy(&c);
}

static void read_address(unsigned choice, const char *text)
{
    struct netaddr address;
    struct netaddr_redis redis;
    struct netaddr_rule rule;
    struct netaddr_network network;
    switch (choice) {
    case 0:
        (void)!netaddr_listen(text, &address);
        break;
    case 1:
        (void)!netaddr_endpoint(text, &address);
        break;
    case 2:
        (void)(netaddr_redis(text, &redis) == NULL);
        break;
    case 3:
        (void)!netaddr_proxy(text, &address);
        break;
    case 4:
        (void)!netaddr_rule(text, &rule);
        break;
    case 5:
        (void)!netaddr_network(slice_of(text), &network);
        break;
    case 6:
        (void)router_find(SLICE("GET"), slice_of(text));
        break;
    case 7:
        must(language_pick(slice_of(text), NULL, LANGUAGE_EN) < LANGUAGES);
        break;
    default:
        read_url(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    unsigned choice = fuzz_byte(&rest) % 9;
    char *text = slice_dup(rest);
    read_address(choice, text);
    free(text);
    return 0;
}
