#include "common/meaning/fotp_words.h"

/* The first digit groups them: 1 the request, 2 who asks and for what, 3 the link and its code,
 * 4 the number, 5 the advertiser, 6 the queue, 9 otpq itself. Numbers once given are never reused:
 * customers' programs compare them. */
const struct fotp_word fotp_words[RESULT_CODES] = {
    [RESULT_NONE] = {"900001", 500, "系统内部错误", "internal error"},
    [RESULT_OTP_SENT] = {FOTP_SUCCESS, 200, "请求成功", "success"},
    [RESULT_OTP_VERIFIED] = {FOTP_SUCCESS, 200, "请求成功", "success"},
    [RESULT_DELIVERED] = {FOTP_SUCCESS, 200, "请求成功", "success"},
    [RESULT_INVALID_REQUEST] = {"100001", 400, "请求参数错误", "a parameter is missing or wrong"},
    [RESULT_INVALID_MSISDN] = {"100002", 400, "手机号码无效", "not a valid mobile number"},
    [RESULT_CONFLICT] = {"100003", 409, "请求冲突", "in conflict with another request"},
    [RESULT_INVALID_USER_CREDENTIALS] = {"200001", 401, "鉴权失败", "authentication failed"},
    [RESULT_ACCOUNT_NOT_ACTIVATED] = {"200002", 403, "账号未激活", "the account is not active"},
    [RESULT_INTEGRATION_NOT_FOUND] = {"200003", 404, "闪信模板不存在",
                                      "there is no such flash template"},
    [RESULT_INTEGRATION_PAUSED] = {"200004", 503, "服务已暂停", "the service is paused"},
    [RESULT_PENDING] = {"300001", 202, "处理中", "in progress"},
    [RESULT_WRONG_OTP] = {"300002", 400, "验证码错误", "the code is wrong"},
    [RESULT_OTP_EXPIRED] = {"300003", 410, "链接已过期", "the link has expired"},
    [RESULT_TOO_MANY_ATTEMPTS] = {"300004", 400, "验证次数过多", "too many attempts"},
    [RESULT_RESEND_TOO_SOON] = {"300005", 429, "请求过于频繁", "asked again too soon"},
    [RESULT_TOO_MANY_SENDS] = {"300006", 429, "发送次数超限", "too many for this number"},
    [RESULT_ALREADY_VERIFIED] = {"300007", 409, "已验证", "verified before"},
    [RESULT_REQUEST_NOT_FOUND] = {"300008", 404, "请求不存在", "there is no such request"},
    [RESULT_ALREADY_SUBSCRIBED] = {"400001", 400, "号码已订阅", "the number is subscribed"},
    [RESULT_NOT_ELIGIBLE] = {"400002", 400, "号码不符合条件", "the number is not eligible"},
    [RESULT_INSUFFICIENT_BALANCE] = {"400003", 400, "余额不足", "insufficient balance"},
    [RESULT_MSISDN_BLOCKED] = {"400004", 400, "号码被拦截", "the number is blocked"},
    [RESULT_FRAUD_SUSPECTED] = {"400005", 400, "疑似欺诈", "fraud is suspected"},
    [RESULT_ADVERTISER_REFUSED] = {"500001", 400, "上游拒绝", "refused upstream"},
    [RESULT_ADVERTISER_ERROR] = {"500002", 502, "上游错误", "an error upstream"},
    [RESULT_ADVERTISER_UNREACHABLE] = {"500003", 502, "上游不可达", "upstream cannot be reached"},
    [RESULT_OUTCOME_UNKNOWN] = {"500004", 504, "结果未知", "the outcome is not known"},
    [RESULT_DEADLINE_PASSED] = {"600001", 503, "请求超时", "the time for it passed"},
    [RESULT_QUEUE_FULL] = {"600002", 503, "系统繁忙", "busy, try again later"},
    [RESULT_RATE_LIMITED] = {"600003", 429, "请求超过限速", "too many requests"},
    [RESULT_STORE_UNAVAILABLE] = {"600004", 503, "服务暂不可用", "not available, try again later"},
    [RESULT_CANCELLED] = {"600005", 409, "请求已取消", "cancelled"},
    [RESULT_INTERNAL_ERROR] = {"900001", 500, "系统内部错误", "internal error"},
};

enum result_code fotp_word_of(struct slice code)
{
    if (slice_is(code, FOTP_SUCCESS)) {
        return RESULT_NONE;
    }
    for (int i = 1; i < RESULT_CODES; i++) {
        if (slice_is(code, fotp_words[i].code)) {
            return (enum result_code)i;
        }
    }
    return RESULT_NONE;
}
