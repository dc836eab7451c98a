#include "gateway/router.h"

#define API_METHODS "GET, POST"

/* One row a line; the first that matches counts. */
const struct router_row router_rows[] = {
    {"/api/af/otp_gen", API_METHODS, ROUTE_GEN, &system_af},
    {"/api/af/otp_verify", API_METHODS, ROUTE_VERIFY, &system_af},
    {"/e/{}/otp_gen", API_METHODS, ROUTE_GEN, &system_endpoint},
    {"/e/{}/otp_verify", API_METHODS, ROUTE_VERIFY, &system_endpoint},
    {"/send", API_METHODS, ROUTE_GEN, &system_otpservice_send},
    {"/code", API_METHODS, ROUTE_VERIFY, &system_otpservice_code},
    {"/one-time-password-sms/v1/send-code", "POST", ROUTE_GEN, &system_camara},
    {"/one-time-password-sms/v1/validate-code", "POST", ROUTE_VERIFY, &system_camara},
    {"/cb/{}/{}/{}", API_METHODS, ROUTE_REPORT, &system_report_in},
    {"/flash/opt/verify", "POST", ROUTE_FLASH_CREATE, &system_flash_create},
    {"/flash/opt/query", "POST", ROUTE_FLASH_QUERY, &system_flash_query},
    {"/flash/opt/redirect/{}", "GET, HEAD", ROUTE_FLASH_PAGE, &system_flash_page},
    {"/flash/opt/mo/{}", API_METHODS, ROUTE_MO, &system_flash_mo},
    {"/healthz", "GET, HEAD", ROUTE_HEALTH, NULL},
};
const unsigned router_count = ARRAY_LEN(router_rows);

static bool name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("_.:-", c) != NULL);
}

static bool matches(const char *pattern, struct slice path, struct slice names[ROUTER_NAMES_MAX])
{
    size_t at = 0;
    size_t count = 0;
    memset(names, 0, ROUTER_NAMES_MAX * sizeof(names[0]));
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '{' && p[1] == '}') {
            size_t from = at;
            while (at < path.n && name_char(path.p[at])) {
                at++;
            }
            must(count < ROUTER_NAMES_MAX);
            names[count++] = slice_make(path.p + from, at - from);
            if (at == from) {
                return false;
            }
            p++;
        } else if (at < path.n && path.p[at] == *p) {
            at++;
        } else {
            return false;
        }
    }
    return at == path.n;
}

/* methods is a list "GET, POST". */
static bool allowed(const char *methods, struct slice method)
{
    for (const char *at = methods; *at != '\0';) {
        size_t n = strcspn(at, ",");
        if (slice_eq(slice_make(at, n), method)) {
            return true;
        }
        at += n + strspn(at + n, ", ");
    }
    return false;
}

struct router_match router_find(struct slice method, struct slice path)
{
    struct router_match m = {.outcome = ROUTE_UNKNOWN};
    for (unsigned i = 0; i < router_count; i++) {
        if (matches(router_rows[i].pattern, path, m.names)) {
            m.row = &router_rows[i];
            m.outcome = allowed(m.row->methods, method) ? ROUTE_FOUND : ROUTE_WRONG_METHOD;
            return m;
        }
    }
    return m;
}
