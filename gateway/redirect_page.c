#include "gateway/redirect_page.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <qrencode.h>
#include <stdio.h>

#include "common/base/asset.h"

ASSET(redirect_html, "gateway/pages/redirect.html");
ASSET(redirect_css, "gateway/pages/redirect.css");
ASSET(redirect_js, "gateway/pages/redirect.js");

enum {
    SMS_BYTES_MAX = 4096,
    TEXT_BYTES_MAX = 16 * 1024,
    QR_BYTES_MAX = 9 * 1024, /* a longer link is shown without */
    QR_MARGIN = 4            /* modules of quiet zone, as ISO/IEC 18004 wants it */
};

/* ---- what it says --------------------------------------------------------------------------- */

struct notice {
    const char *title;
    const char *lead;
};

struct words {
    const char *title;
    const char *lead_phone;
    const char *lead_desktop;
    const char *button;
    const char *by_hand;
    const char *to_label;
    const char *text_label;
    const char *qr_label;
    const char *valid; /* with one PRId64: minutes */
    struct notice notices[REDIRECT_NOTICES];
};

static const struct words words[LANGUAGES] = {
    [LANGUAGE_ZH] =
        {"短信验证",
         "短信应用将会打开，收件人和内容已填好。请不要修改，直接发送。",
         "请用手机扫描二维码。手机上的短信应用将会打开，收件人和内容已填好，直接发送即可。",
         "打开短信",
         "也可以手动发送",
         "收件人",
         "内容",
         "本页地址的二维码",
         "链接在 %" PRId64 " 分钟内有效。",
         {[NOTICE_UNKNOWN] = {"链接不存在", "请检查地址是否完整，或重新获取链接。"},
          [NOTICE_EXPIRED] = {"链接已过期", "请返回原页面重新获取链接。"},
          [NOTICE_DONE] = {"已完成验证", "短信已收到，您可以关闭本页。"},
          [NOTICE_LATER] = {"暂时无法打开", "请稍后再试。"}}},
    [LANGUAGE_EN] =
        {"Confirm by SMS",
         "Your messages app opens with the receiver and the text filled in. Send it as it is.",
         "Scan this code with your phone. Its messages app opens with the receiver and the text "
         "filled in; send it as it is.",
         "Open messages",
         "Or send it by hand",
         "To",
         "Text",
         "QR code of this page's address",
         "This link works for another %" PRId64 " min.",
         {[NOTICE_UNKNOWN] = {"Link not found",
                              "Check whether the address is whole, or ask for a new link."},
          [NOTICE_EXPIRED] = {"This link has expired",
                              "Go back to where you came from and ask for a new one."},
          [NOTICE_DONE] = {"Confirmed", "Your SMS has arrived. You can close this page."},
          [NOTICE_LATER] = {"Not available just now", "Please try again in a moment."}}},
};

/* ---- devices -------------------------------------------------------------------------------- */

static bool has(struct slice text, const char *word)
{
    return text.n > 0 && memmem(text.p, text.n, word, strlen(word)) != NULL;
}

enum redirect_device redirect_device_of(struct slice agent)
{
    if (has(agent, "iPhone") || has(agent, "iPad") || has(agent, "iPod")) {
        return DEVICE_IOS;
    }
    if (has(agent, "Android") || has(agent, "Mobi")) {
        return DEVICE_PHONE;
    }
    return has(agent, "Macintosh") ? DEVICE_MAC : DEVICE_DESKTOP;
}

void redirect_sms_address(struct buf *out, enum redirect_device device, struct slice receiver,
                          struct slice text)
{
    bool apple = device == DEVICE_IOS || device == DEVICE_MAC;
    buf_puts(out, "sms:");
    buf_put_slice(out, receiver);
    buf_puts(out, apple ? "&body=" : "?body=");
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c != '\0' && strchr("-._~", c) != NULL);
        if (plain) {
            buf_putc(out, (char)c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}

/* ---- the QR code ---------------------------------------------------------------------------- */

/* One path of runs of dark modules; *size is the side with its quiet zone. Empty: none. */
static void draw(struct buf *path, const QRcode *qr, int *size)
{
    *size = qr->width + 2 * QR_MARGIN;
    for (int y = 0; y < qr->width; y++) {
        const unsigned char *row = qr->data + (ptrdiff_t)y * qr->width;
        for (int x = 0; x < qr->width; x++) {
            int from = x;
            while (x < qr->width && (row[x] & 1) != 0) {
                x++;
            }
            if (x > from) {
                buf_printf(path, "M%d %dh%dv1h-%dz", from + QR_MARGIN, y + QR_MARGIN, x - from,
                           x - from);
            }
        }
    }
}

static void draw_link(struct buf *path, struct slice link, int *size)
{
    char *text = slice_dup(link);
    QRcode *qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    free(text);
    if (qr != NULL) {
        draw(path, qr, size);
        QRcode_free(qr);
    }
    if (!buf_ok(path)) {
        buf_free(path);
    }
}

/* ---- the document --------------------------------------------------------------------------- */

enum { VALUES_MAX = 24 };

struct value {
    const char *name;
    struct slice text;
};

struct values {
    uint32_t count;
    struct value at[VALUES_MAX];
};

static void set(struct values *v, const char *name, struct slice text)
{
    must(v->count < VALUES_MAX);
    v->at[v->count++] = (struct value){name, text};
}

/* Empty when nobody set it. */
static struct slice get(const struct values *v, struct slice name)
{
    for (uint32_t i = 0; i < v->count; i++) {
        if (slice_is(name, v->at[i].name)) {
            return v->at[i].text;
        }
    }
    return (struct slice){NULL, 0};
}

static void put_escaped(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        case '\'':
            buf_puts(out, "&#39;");
            break;
        default:
            buf_putc(out, s.p[i]);
        }
    }
}

/* Each word by itself, so that no line ends inside the one that is looked for. */
static void put_words(struct buf *out, struct slice text)
{
    while (text.n > 0) {
        const char *space = memchr(text.p, ' ', text.n);
        size_t n = space != NULL ? (size_t)(space - text.p) : text.n;
        buf_puts(out, "<span>");
        put_escaped(out, slice_make(text.p, n));
        buf_puts(out, "</span>");
        if (space != NULL) {
            buf_putc(out, ' ');
            n++;
        }
        text = slice_make(text.p + n, text.n - n);
    }
}

/* The asset's marks: {{name}} a value, escaped; {{!name}} as it is; {{?name}}…{{/}} only when the
 * value is not empty. They do not nest. */
static void fill(struct buf *out, struct slice page, const struct values *v)
{
    bool shown = true;
    while (page.n > 0) {
        const char *mark = memmem(page.p, page.n, "{{", 2);
        size_t plain = mark != NULL ? (size_t)(mark - page.p) : page.n;
        if (shown) {
            buf_put(out, page.p, plain);
        }
        page = slice_make(page.p + plain, page.n - plain);
        if (page.n == 0) {
            break;
        }
        const char *end = memmem(page.p, page.n, "}}", 2);
        must(end != NULL);
        char kind = page.p[2];
        bool special = kind == '!' || kind == '?' || kind == '/';
        struct slice name = slice_make(page.p + (special ? 3 : 2), 0);
        name.n = (size_t)(end - name.p);
        if (kind == '?' || kind == '/') {
            shown = kind == '/' || get(v, name).n > 0;
        } else if (shown && kind == '!') {
            buf_put_slice(out, get(v, name));
        } else if (shown) {
            put_escaped(out, get(v, name));
        }
        page = slice_make(end + 2, page.n - (size_t)(end + 2 - page.p));
    }
}

static void begin(struct values *v, enum language language)
{
    *v = (struct values){0};
    set(v, "lang", slice_of(language_rows[language].tag));
    set(v, "dir", slice_of(language_rows[language].dir));
    set(v, "style", redirect_css());
    set(v, "script", redirect_js());
}

static void set_words(struct values *v, const struct words *w, bool desktop)
{
    set(v, "title", slice_of(w->title));
    set(v, "lead", slice_of(desktop ? w->lead_desktop : w->lead_phone));
    set(v, "button", slice_of(w->button));
    set(v, "by_hand", slice_of(w->by_hand));
    set(v, "to_label", slice_of(w->to_label));
    set(v, "text_label", slice_of(w->text_label));
    set(v, "qr_label", slice_of(w->qr_label));
}

void redirect_page_write(struct buf *out, const struct redirect_page *p)
{
    const struct words *w = &words[p->language];
    bool desktop = p->device == DEVICE_DESKTOP || p->device == DEVICE_MAC;
    struct values v;
    struct buf sms;
    struct buf path;
    struct buf text;
    int size = 0;
    char side[12];
    char valid[96] = "";
    buf_init(&sms, SMS_BYTES_MAX);
    buf_init(&path, QR_BYTES_MAX);
    buf_init(&text, TEXT_BYTES_MAX);
    put_words(&text, p->text);
    redirect_sms_address(&sms, p->device, p->receiver, p->text);
    if (desktop) {
        draw_link(&path, p->link, &size);
    }
    if (p->valid_s >= 0) {
        (void)snprintf(valid, sizeof(valid), w->valid, (p->valid_s + 59) / 60);
    }
    (void)snprintf(side, sizeof(side), "%d", size);
    begin(&v, p->language);
    set_words(&v, w, desktop && path.n > 0);
    set(&v, "receiver", p->receiver);
    set(&v, "text", buf_slice(&text));
    set(&v, "sms", buf_slice(&sms));
    set(&v, "auto", desktop ? SLICE("") : SLICE(" data-auto"));
    set(&v, "qr", buf_slice(&path));
    set(&v, "qr_size", slice_of(side));
    set(&v, "valid", slice_of(valid));
    fill(out, redirect_html(), &v);
    buf_free(&sms);
    buf_free(&path);
    buf_free(&text);
}

void redirect_notice_write(struct buf *out, enum language language, enum redirect_notice notice)
{
    const struct notice *n = &words[language].notices[notice];
    struct values v;
    begin(&v, language);
    set(&v, "title", slice_of(n->title));
    set(&v, "lead", slice_of(n->lead));
    fill(out, redirect_html(), &v);
}

/* "'sha256-…'" of what stands between the tags (CSP Level 3, 6.7.2). */
static void put_source(struct buf *out, struct slice text)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char base64[4 * (sizeof(digest) + 2) / 3 + 1];
    unsigned int n = 0;
    must(EVP_Digest(text.p, text.n, digest, &n, EVP_sha256(), NULL) == 1 && n == sizeof(digest));
    (void)EVP_EncodeBlock(base64, digest, (int)sizeof(digest));
    buf_printf(out, "'sha256-%s'", (const char *)base64);
}

void redirect_page_policy(char out[ANSWER_HEADER_BYTES])
{
    struct buf b;
    buf_init(&b, ANSWER_HEADER_BYTES - 1);
    buf_puts(&b, "default-src 'none'; style-src ");
    put_source(&b, redirect_css());
    buf_puts(&b, "; script-src ");
    put_source(&b, redirect_js());
    buf_puts(&b, "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    must(buf_ok(&b));
    memcpy(out, buf_text(&b), b.n + 1);
    buf_free(&b);
}
