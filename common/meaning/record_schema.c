#include "common/meaning/record.h"

#define AT(type, member) offsetof(struct type, member)

static const struct record_key network_keys[] = {
    {"mid", RECORD_U64, NULL, NULL, 1, UINT32_MAX, "",
     "Number of the network; calls carry it as mid.", AT(network, mid)},
};

static const struct record_key affiliate_keys[] = {
    {"name", RECORD_TEXT, "", NULL, 0, 200, "bytes", "What people call the affiliate.",
     AT(affiliate, name)},
    {"key", RECORD_TOKEN, NULL, NULL, 8, 128, "characters", "API key; calls carry it as key.",
     AT(affiliate, key)},
    {"api_access", RECORD_BOOL, "false", NULL, 0, 0, "",
     "Whether the affiliate may call the API; an endpoint can only be made for one that may.",
     AT(affiliate, api_access)},
    {"weight", RECORD_U32, "1", NULL, 1, 100, "",
     "Its part of a route that is busy: one of weight 3 sends 3 jobs for each that one of weight 1 "
     "sends.",
     AT(affiliate, weight)},
    {"postback_url", RECORD_TEXT, "", NULL, 0, 2000, "bytes",
     "Address that is called on each conversion, with macros.", AT(affiliate, postback_url)},
    {"callback_secret", RECORD_TOKEN, "", NULL, 0, 128, "characters",
     "Key of webhook-signature on postbacks; without it they are not signed.",
     AT(affiliate, callback_secret)},
};

static const struct record_key integration_keys[] = {
    {"dialect", RECORD_DIALECT, "template", NULL, 0, 0, "",
     "How to speak to the advertiser; the keys behind the common ones are the dialect's own.",
     AT(integration, dialect)},
    {"paused", RECORD_BOOL, "false", NULL, 0, 0, "",
     "Stops the route: new requests are answered integration_paused.", AT(integration, paused)},
    {"accept", RECORD_CHOICE, "memory", "memory|stored", 0, 0, "",
     "Where a job must be before it is accepted: in the broker's memory, or in Redis as well.",
     AT(integration, accept)},
    {"country_code", RECORD_DIGITS, "", NULL, 0, 4, "digits",
     "Country code of numbers that are typed without one, and what the filter national takes off.",
     AT(integration, country_code)},
    {"maker", RECORD_CHOICE, "advertiser", "advertiser|otpq", 0, 0, "",
     "Who makes and checks the code.", AT(integration, maker)},
    {"code_digits", RECORD_U32, "6", NULL, 4, 10, "digits", "Length of a code that otpq makes.",
     AT(integration, code_digits)},
    {"code_valid_s", RECORD_U32, "0", NULL, 0, 86400, "s",
     "How long a request can be verified; 0: 300 when otpq makes the code (then at most 600), else "
     "600.",
     AT(integration, code_valid_s)},
    {"code_checks", RECORD_U32, "5", NULL, 1, 100, "checks",
     "Wrong codes after which a request is dead.", AT(integration, code_checks)},
    {"resend_after_s", RECORD_U32, "30", NULL, 0, 3600, "s",
     "Cooldown before the same number can have its code again.", AT(integration, resend_after_s)},
    {"sends_max", RECORD_U32, "3", NULL, 1, 1000, "sends",
     "Sends to one number in the window; more are too_many_sends.", AT(integration, sends_max)},
    {"sends_window_s", RECORD_U32, "600", NULL, 1, 86400, "s", "The window of sends_max.",
     AT(integration, sends_window_s)},
    {"text", RECORD_LINES, "", NULL, 0, 1000, "bytes",
     "Text of the message with {otp}; send carries it as {text}. Only when otpq makes the code.",
     AT(integration, text)},
    {"calls_per_s", RECORD_U32, "0", NULL, 0, 1000000, "calls",
     "Calls to the advertiser in a second; 0: no limit.", AT(integration, calls_per_s)},
    {"burst", RECORD_U32, "0", NULL, 0, 1000000, "calls",
     "Calls that may go at once after a pause; 0: as many as calls_per_s.", AT(integration, burst)},
    {"calls_at_once", RECORD_U32, "0", NULL, 0, 1000000, "calls",
     "Calls in flight at the same time; 0: no limit.", AT(integration, calls_at_once)},
    {"breaker_percent", RECORD_U32, "50", NULL, 0, 100, "%",
     "Share of failed calls in the window that opens the breaker; 0: it never opens.",
     AT(integration, breaker_percent)},
    {"breaker_calls", RECORD_U32, "20", NULL, 1, 100000, "calls",
     "Calls that the window must have for that.", AT(integration, breaker_calls)},
    {"breaker_window_ms", RECORD_U32, "10000", NULL, 100, 3600000, "ms",
     "The window of the breaker.", AT(integration, breaker_window_ms)},
    {"breaker_open_ms", RECORD_U32, "5000", NULL, 100, 3600000, "ms",
     "How long it stays open before a call may try again.", AT(integration, breaker_open_ms)},
    {"on_unknown", RECORD_CHOICE, "fail", "fail|retry|query", 0, 0, "",
     "What follows when an outcome is unknown; retry: a send is made again, and can send a second "
     "message; query: the advertiser is asked for the state, where its dialect can.",
     AT(integration, on_unknown)},
    {"fallback", RECORD_LIST, "", NULL, 1, RECORD_NAME_BYTES_MAX, "characters",
     "Integrations to try, in this order, when the answer proves that nothing was sent or taken.",
     AT(integration, fallback)},
    {"numbers", RECORD_CHOICE, "valid", "valid|possible", 0, 0, "",
     "Which phone numbers are taken: valid ones, or all of a possible length.",
     AT(integration, numbers)},
    {"callback_token", RECORD_TOKEN, "", NULL, 0, 128, "characters",
     "Unguessable part of the address at which the advertiser's callbacks are taken in, at least "
     "16 "
     "characters; without it none are.",
     AT(integration, callback_token)},
    {"payout", RECORD_TEXT, "", NULL, 0, 32, "bytes",
     "What a conversion pays; postbacks carry it as {payout}.", AT(integration, payout)},
};

static const struct record_key endpoint_keys[] = {
    {"integration", RECORD_NAME, NULL, NULL, 1, RECORD_NAME_BYTES_MAX, "characters",
     "Name of the integration that is called.", AT(endpoint, integration)},
    {"affiliate", RECORD_U64, NULL, NULL, 1, UINT32_MAX, "",
     "Number of the affiliate it is made for.", AT(endpoint, affiliate)},
    {"page_title", RECORD_TEXT, "", NULL, 0, 200, "bytes", "Title of the landing page.",
     AT(endpoint, page_title)},
};

static const struct record_key account_keys[] = {
    {"active", RECORD_BOOL, "true", NULL, 0, 0, "",
     "Whether the account may send; one that is not is answered 412.", AT(account, active)},
    {"password_hash", RECORD_TOKEN, "", NULL, 0, 200, "characters",
     "Password of the OTP Service API as `otpq hash-password` prints it; without it the account "
     "has "
     "no access there.",
     AT(account, password_hash)},
    {"integration", RECORD_NAME, "", NULL, 0, RECORD_NAME_BYTES_MAX, "characters",
     "OTP Service API: integration that carries the SMS.", AT(account, integration)},
    {"text", RECORD_LINES, "", NULL, 0, 1000, "bytes",
     "OTP Service API: text of the SMS with {otp}; empty: the integration's.", AT(account, text)},
    {"callback_url", RECORD_TEXT, "", NULL, 0, 2000, "bytes",
     "OTP Service API: address of both callbacks.", AT(account, callback_url)},
    {"callback_secret", RECORD_TOKEN, "", NULL, 0, 128, "characters",
     "Key of webhook-signature on callbacks; without it they are not signed.",
     AT(account, callback_secret)},
    {"sign", RECORD_CHOICE, "md5-sorted", "md5-sorted|hmac-sha256-sorted|static|none", 0, 0, "",
     "FOTP: how requests are signed; none is for loopback alone.", AT(account, sign)},
    {"secret", RECORD_TOKEN, "", NULL, 0, 128, "characters",
     "FOTP: secret of the signature; without it the account has no access there, unless sign is "
     "none.",
     AT(account, secret)},
    {"header_account", RECORD_NAME, "account", NULL, 1, 64, "characters",
     "FOTP: name of the header with the account.", AT(account, header_account)},
    {"header_nonce", RECORD_NAME, "nonce", NULL, 1, 64, "characters",
     "FOTP: name of the header with the nonce.", AT(account, header_nonce)},
    {"header_sign", RECORD_NAME, "sign", NULL, 1, 64, "characters",
     "FOTP: name of the header with the signature.", AT(account, header_sign)},
    {"time_zone", RECORD_TEXT, "UTC", NULL, 1, 64, "bytes",
     "FOTP: time zone of times in pushes and queries, as Asia/Bangkok.", AT(account, time_zone)},
};

static const struct record_key flash_template_keys[] = {
    {"title", RECORD_TEXT, "", NULL, 0, 200, "bytes", "What people call the template.",
     AT(flash_template, title)},
    {"account", RECORD_NAME, NULL, NULL, 1, 48, "characters", "Account whose template it is.",
     AT(flash_template, account)},
    {"receivers", RECORD_LIST, NULL, NULL, 3, 15, "digits",
     "Numbers that the SMS may go to; the user is shown the first.", AT(flash_template, receivers)},
    {"content", RECORD_TEXT, NULL, NULL, 6, 300, "bytes",
     "Text of the SMS with {code}; the word around {code} must be in the SMS that comes.",
     AT(flash_template, content)},
    {"callback_url", RECORD_TEXT, "", NULL, 0, 2000, "bytes", "Address of pushes.",
     AT(flash_template, callback_url)},
    {"code_digits", RECORD_U32, "4", NULL, 4, 6, "digits", "Length of a code that is made here.",
     AT(flash_template, code_digits)},
    {"valid_min", RECORD_U32, "5", NULL, 1, 10, "minutes",
     "How long a link lives when the request does not say.", AT(flash_template, valid_min)},
    {"languages", RECORD_LIST, "", NULL, 2, 8, "characters",
     "Languages of the redirect page, of zh and en; empty: all, as the browser asks.",
     AT(flash_template, languages)},
    {"integration", RECORD_NAME, "", NULL, 0, RECORD_NAME_BYTES_MAX, "characters",
     "Integration behind the template; empty: otpq makes the code and matches the SMS itself.",
     AT(flash_template, integration)},
};

static const struct record_key api_token_keys[] = {
    {"token", RECORD_TOKEN, NULL, NULL, 8, 128, "characters", "The bearer token.",
     AT(api_token, token)},
    {"integration", RECORD_NAME, NULL, NULL, 1, RECORD_NAME_BYTES_MAX, "characters",
     "Integration that carries the SMS.", AT(api_token, integration)},
};

static const struct record_key mo_source_keys[] = {
    {"token", RECORD_TOKEN, NULL, NULL, 6, 128, "characters",
     "Unguessable part of the address that the SMSC's messages come to.", AT(mo_source, token)},
};

static const struct record_key curve_key_keys[] = {
    {"public_key", RECORD_TOKEN, NULL, NULL, 40, 40, "characters",
     "Public half of the pair, as `otpq keys new` prints it.", AT(curve_key, public_key)},
    {"kind", RECORD_CHOICE, NULL, "client|worker|gateway|broker|operator", 0, 0, "",
     "Who has it, and with that what it opens.", AT(curve_key, kind)},
    {"tenants", RECORD_LIST, "", NULL, 1, RECORD_NAME_BYTES_MAX, "characters",
     "Tenants that its jobs may have; left out: every one.", AT(curve_key, tenants)},
    {"routes", RECORD_LIST, "", NULL, 1, RECORD_NAME_BYTES_MAX, "characters",
     "Routes that its jobs may take; left out: every one.", AT(curve_key, routes)},
    {"made", RECORD_TEXT, "", NULL, 0, 40, "bytes", "When it was made.", AT(curve_key, made)},
    {"revoked", RECORD_BOOL, "false", NULL, 0, 0, "",
     "Nobody is let in with it any more, and who is in is cut off.", AT(curve_key, revoked)},
    {"revoked_at", RECORD_TEXT, "", NULL, 0, 40, "bytes", "When it was revoked.",
     AT(curve_key, revoked_at)},
};

const char *const key_kind_names[KEY_KINDS] = {
    [KEY_CLIENT] = "client", [KEY_WORKER] = "worker",     [KEY_GATEWAY] = "gateway",
    [KEY_BROKER] = "broker", [KEY_OPERATOR] = "operator",
};

#define SCHEMA(section, one, keys, type)                                                           \
    {                                                                                              \
        section, one, keys, ARRAY_LEN(keys), sizeof(struct type)                                   \
    }

const struct record_schema record_schemas[RECORD_KINDS] = {
    [RECORD_NETWORK] = SCHEMA("network", "network", network_keys, network),
    [RECORD_AFFILIATE] = SCHEMA("affiliates", "affiliate", affiliate_keys, affiliate),
    [RECORD_INTEGRATION] = SCHEMA("integrations", "integration", integration_keys, integration),
    [RECORD_ENDPOINT] = SCHEMA("endpoints", "endpoint", endpoint_keys, endpoint),
    [RECORD_ACCOUNT] = SCHEMA("accounts", "account", account_keys, account),
    [RECORD_FLASH_TEMPLATE] =
        SCHEMA("flash_templates", "flash template", flash_template_keys, flash_template),
    [RECORD_API_TOKEN] = SCHEMA("api_tokens", "API token", api_token_keys, api_token),
    [RECORD_MO_SOURCE] = SCHEMA("mo_sources", "MO source", mo_source_keys, mo_source),
    [RECORD_CURVE_KEY] = SCHEMA("keys", "key", curve_key_keys, curve_key),
};

const char *const record_sections[RECORD_KINDS] = {
    [RECORD_NETWORK] = "network",          [RECORD_AFFILIATE] = "affiliates",
    [RECORD_INTEGRATION] = "integrations", [RECORD_ENDPOINT] = "endpoints",
    [RECORD_ACCOUNT] = "accounts",         [RECORD_FLASH_TEMPLATE] = "flash_templates",
    [RECORD_API_TOKEN] = "api_tokens",     [RECORD_MO_SOURCE] = "mo_sources",
    [RECORD_CURVE_KEY] = "keys",
};
