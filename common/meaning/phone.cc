/* The only C++ here: libphonenumber has no C interface. No exception leaves this file: C has no
 * frames that could let one through. */
#include "common/meaning/phone.h"

#include <cstring>
#include <string>

#include <phonenumbers/phonenumberutil.h>

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

namespace
{

template <size_t room> void put(char (&to)[room], const char *from, size_t n)
{
    n = n < room ? n : room - 1;
    if (n > 0) {
        std::memcpy(to, from, n);
    }
    to[n] = '\0';
}

template <size_t room> void put_digits(char (&to)[room], const std::string &from)
{
    std::string digits;
    for (char c : from) {
        if (c >= '0' && c <= '9') {
            digits += c;
        }
    }
    put(to, digits.data(), digits.size());
}

phone_type type_of(PhoneNumberUtil::PhoneNumberType type)
{
    switch (type) {
    case PhoneNumberUtil::MOBILE:
        return PHONE_MOBILE;
    case PhoneNumberUtil::FIXED_LINE:
        return PHONE_FIXED;
    case PhoneNumberUtil::FIXED_LINE_OR_MOBILE:
        return PHONE_FIXED_OR_MOBILE;
    case PhoneNumberUtil::UNKNOWN:
        return PHONE_UNKNOWN;
    default:
        return PHONE_OTHER;
    }
}

void look(const PhoneNumberUtil &plans, const PhoneNumber &number, phone &out)
{
    std::string country;
    out.possible = plans.IsPossibleNumber(number);
    plans.GetRegionCodeForNumber(number, &country);
    /* A number is valid when it is of some type: IsValidNumber asks the same a second time. */
    PhoneNumberUtil::PhoneNumberType type = plans.GetNumberType(number);
    out.valid = type != PhoneNumberUtil::UNKNOWN;
    out.type = type_of(type);
    if (country.size() == 2 && country != "ZZ") { /* "001" is a code without a country */
        put(out.country, country.data(), country.size());
    }
}

void write(const PhoneNumberUtil &plans, const PhoneNumber &number, phone_forms &out)
{
    std::string text;
    if (!plans.IsPossibleNumber(number)) {
        return;
    }
    out.possible = true;
    plans.GetNationalSignificantNumber(number, &text);
    put_digits(out.national, text);
    plans.Format(number, PhoneNumberUtil::NATIONAL, &text);
    put_digits(out.dialled, text);
    plans.Format(number, PhoneNumberUtil::INTERNATIONAL, &text);
    put(out.international, text.data(), text.size());
}

void as_it_came(struct slice, phone &out)
{
    out = phone();
}

void as_it_came(struct slice digits, phone_forms &out)
{
    out = phone_forms();
    put(out.national, digits.p, digits.n);
    put(out.dialled, digits.p, digits.n);
    put(out.international, digits.p, digits.n);
}

bool is_number(struct slice digits)
{
    enum { DIGITS_MAX = 17 }; /* what libphonenumber takes; E.164 has 15 */
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') {
            return false;
        }
    }
    return digits.n > 0 && digits.n <= DIGITS_MAX;
}

/* What `tell` says of the number, where it is one. */
template <typename Out>
void ask(struct slice digits, Out &out,
         void (*tell)(const PhoneNumberUtil &, const PhoneNumber &, Out &))
{
    if (digits.n > 0 && digits.p[0] == '+') {
        digits.p++;
        digits.n--;
    }
    as_it_came(digits, out);
    if (!is_number(digits)) {
        return;
    }
    try {
        const PhoneNumberUtil &plans = *PhoneNumberUtil::GetInstance();
        PhoneNumber number;
        std::string text("+");
        text.append(digits.p, digits.n);
        if (plans.Parse(text, "ZZ", &number) == PhoneNumberUtil::NO_PARSING_ERROR) {
            tell(plans, number, out);
        }
    } catch (...) { /* out of memory at worst: a number that cannot be judged is not possible */
        as_it_came(digits, out);
    }
}

} // namespace

extern "C" void phone_look(struct slice e164_digits, struct phone *out)
{
    ask(e164_digits, *out, look);
}

extern "C" void phone_write(struct slice e164_digits, struct phone_forms *out)
{
    ask(e164_digits, *out, write);
}
