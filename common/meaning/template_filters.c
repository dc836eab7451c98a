#include "common/meaning/template_filters.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/utf8.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/phone.h"

const struct template_filter_row template_filters[FILTERS] = {
    [FILTER_NATIONAL] =
        {"national", NULL,
         "a number without the integration's country_code; where it does not have that, as the "
         "country's numbering plan writes it without a country code"},
    [FILTER_DIALLED] = {"dialled", NULL,
                        "a number as it is dialled inside its country, digits: 0812340000"},
    [FILTER_INTERNATIONAL] = {"international", NULL, "a number as people read it: +66 81 234 0000"},
    [FILTER_PLUS] = {"plus", NULL, "with \"+\" in front, unless it is there or the value is empty"},
    [FILTER_MD5] = {"md5", NULL, "MD5, lower-case hex"},
    [FILTER_SHA256] = {"sha256", NULL, "SHA-256, lower-case hex"},
    [FILTER_HMAC_SHA256] = {"hmac_sha256", "NAME",
                            "HMAC-SHA256 with the secret NAME as the key, lower-case hex"},
    [FILTER_BASE64] = {"base64", NULL, "Base64 with padding (RFC 4648, section 4)"},
    [FILTER_UPPER] = {"upper", NULL, "ASCII letters in upper case"},
    [FILTER_LOWER] = {"lower", NULL, "ASCII letters in lower case"},
    [FILTER_CODING] = {"coding", NULL,
                       "of a text: 0 when the GSM alphabet has all of it, 2 when it needs Unicode"},
};

static void put_hex(const unsigned char *bytes, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%02x", bytes[i]);
    }
}

static void put_digest(const EVP_MD *kind, struct slice value, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    must(EVP_Digest(value.p, value.n, digest, &n, kind, NULL) == 1);
    put_hex(digest, n, out);
}

static void put_hmac(struct slice value, struct slice key, struct buf *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    /* HMAC takes a NULL key for "the last one"; an empty key is a key. */
    const char *key_bytes = key.p != NULL ? key.p : "";
    must(HMAC(EVP_sha256(), key_bytes, (int)key.n, (const unsigned char *)value.p, value.n, mac,
              &n) != NULL);
    put_hex(mac, n, out);
}

static void put_base64(struct slice value, struct buf *out)
{
    size_t n = 4 * ((value.n + 2) / 3);
    char *to = buf_room(out, n);
    if (to != NULL && n > 0) {
        must(EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)value.p, (int)value.n) ==
             (int)n);
        buf_added(out, n);
    }
}

static struct slice without_plus(struct slice value)
{
    bool plus = value.n > 0 && value.p[0] == '+';
    return plus ? slice_make(value.p + 1, value.n - 1) : value;
}

static void put_national(struct slice value, const char *country_code, struct buf *out)
{
    struct slice digits = without_plus(value);
    struct slice rest = msisdn_national(digits, country_code);
    struct phone_forms forms;
    if (rest.n == digits.n) {
        phone_write(digits, &forms);
        rest = forms.possible ? slice_of(forms.national) : digits;
    }
    buf_put_slice(out, rest);
}

/* What no plan knows stays as it is: an advertiser says best what is wrong with it. */
static void put_phone(struct slice value, enum template_filter form, struct buf *out)
{
    struct phone_forms forms;
    phone_write(value, &forms);
    if (!forms.possible) {
        buf_put_slice(out, form == FILTER_DIALLED ? without_plus(value) : value);
        return;
    }
    buf_puts(out, form == FILTER_DIALLED ? forms.dialled : forms.international);
}

/* GSM 03.38, 6.2.1, the default alphabet and its extension, without the ASCII of them. */
static bool is_gsm(struct slice c)
{
    static const char beyond_ascii[] = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà€";
    if (c.n == 1) {
        return c.p[0] != '`' && (c.p[0] >= ' ' || c.p[0] == '\n' || c.p[0] == '\r');
    }
    return memmem(beyond_ascii, sizeof(beyond_ascii) - 1, c.p, c.n) != NULL;
}

static void put_coding(struct slice text, struct buf *out)
{
    for (size_t n; text.n > 0; text = slice_make(text.p + n, text.n - n)) {
        n = utf8_first(text);
        if (n == 0 || !is_gsm(slice_make(text.p, n))) {
            buf_putc(out, '2');
            return;
        }
    }
    buf_putc(out, '0');
}

static void put_case(struct slice value, char first, char last, struct buf *out)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        buf_putc(out, c >= first && c <= last ? (char)(c ^ 0x20) : c);
    }
}

void template_filter_apply(enum template_filter filter, struct slice value, struct slice key,
                           const char *country_code, struct buf *out)
{
    switch (filter) {
    case FILTER_NATIONAL:
        put_national(value, country_code, out);
        break;
    case FILTER_DIALLED:
    case FILTER_INTERNATIONAL:
        put_phone(value, filter, out);
        break;
    case FILTER_PLUS:
        buf_puts(out, value.n > 0 && value.p[0] != '+' ? "+" : "");
        buf_put_slice(out, value);
        break;
    case FILTER_MD5:
        put_digest(EVP_md5(), value, out);
        break;
    case FILTER_SHA256:
        put_digest(EVP_sha256(), value, out);
        break;
    case FILTER_HMAC_SHA256:
        put_hmac(value, key, out);
        break;
    case FILTER_BASE64:
        put_base64(value, out);
        break;
    case FILTER_UPPER:
        put_case(value, 'a', 'z', out);
        break;
    case FILTER_LOWER:
        put_case(value, 'A', 'Z', out);
        break;
    case FILTER_CODING:
        put_coding(value, out);
        break;
    case FILTERS:
        must(false);
    }
}
