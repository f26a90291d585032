/* The reward `language`: whether the completion is written in the wanted script or language. The score is
 * the share of its letters in the wanted script; for languages of the Latin script it is 0 when the little
 * words of another one of them are more frequent. Formulas and code between dollars or backticks do not
 * count; a text without letters scores 1. */
#include <string.h>

#include "base/mem.h"
#include "reward/reward_kinds.h"

typedef enum script { LATIN, CYRILLIC, GREEK, ARABIC, HEBREW, DEVANAGARI, HAN, KANA, HANGUL, THAI, SCRIPTS } script;

typedef struct language {
    const char *code;
    unsigned scripts;       /* bits of script */
    const char *small_words; /* of Latin languages, each between spaces; NULL for the rest */
} language;

static const language languages[] = {
    {"en", 1u << LATIN, " the of and to in is that it was for with are this as be from we have not which by an "},
    {"de", 1u << LATIN, " der die und das ist nicht ein eine mit auf den von zu im des sich wir es sind auch "},
    {"fr", 1u << LATIN, " le la les et est des un une dans que qui pour pas sur nous avec du ce sont donc "},
    {"es", 1u << LATIN, " el la los las de que y en un una es por con para del se como son entonces "},
    {"it", 1u << LATIN, " il di che e la un una per con non sono del della si le dei quindi nel "},
    {"pt", 1u << LATIN, " o os as de que e em um uma para com do da se por dos como portanto "},
    {"nl", 1u << LATIN, " de het een en van is dat niet op te zijn met voor dus wij we aan "},
    {"pl", 1u << LATIN, " i w nie na jest do to z si\xc4\x99 \xc5\xbc" "e oraz wi\xc4\x99" "c dla przez "},
    {"tr", 1u << LATIN, " ve bir bu i\xc3\xa7in ile olarak de da olan ise gibi "},
    {"vi", 1u << LATIN, " v\xc3\xa0 l\xc3\xa0 c\xe1\xbb\xa7" "a c\xc3\xb3 m\xe1\xbb\x99t c\xc3\xa1" "c cho trong "},
    {"ru", 1u << CYRILLIC, NULL}, {"uk", 1u << CYRILLIC, NULL}, {"bg", 1u << CYRILLIC, NULL}, {"el", 1u << GREEK, NULL},
    {"ar", 1u << ARABIC, NULL}, {"fa", 1u << ARABIC, NULL}, {"he", 1u << HEBREW, NULL}, {"hi", 1u << DEVANAGARI, NULL},
    {"zh", 1u << HAN, NULL}, {"ja", 1u << HAN | 1u << KANA, NULL}, {"ko", 1u << HANGUL, NULL}, {"th", 1u << THAI, NULL},
    {"latin", 1u << LATIN, NULL}, {"cyrillic", 1u << CYRILLIC, NULL}, {"han", 1u << HAN, NULL},
};

enum { LANGUAGES = sizeof languages / sizeof *languages };

typedef struct language_scorer {
    reward_scorer base;
    const language *wanted;
} language_scorer;

/* The script of a code point, SCRIPTS for what is no letter of one of them. */
static script script_of(unsigned c)
{
    static const struct {
        unsigned first, last;
        script script;
    } ranges[] = {{'A', 'Z', LATIN}, {'a', 'z', LATIN}, {0xC0, 0x24F, LATIN}, {0x1E00, 0x1EFF, LATIN}, {0x370, 0x3FF, GREEK},
                  {0x400, 0x52F, CYRILLIC}, {0x590, 0x5FF, HEBREW}, {0x600, 0x6FF, ARABIC}, {0x750, 0x77F, ARABIC},
                  {0x900, 0x97F, DEVANAGARI}, {0xE00, 0xE7F, THAI}, {0x1100, 0x11FF, HANGUL}, {0x3040, 0x30FF, KANA},
                  {0x3400, 0x4DBF, HAN}, {0x4E00, 0x9FFF, HAN}, {0xAC00, 0xD7AF, HANGUL}, {0xF900, 0xFAFF, HAN},
                  {0x20000, 0x3134F, HAN}};
    if (c == 0xD7 || c == 0xF7) /* times, divided by */
        return SCRIPTS;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return ranges[i].script;
    return SCRIPTS;
}

/* One code point; ill-formed bytes are skipped one by one. */
static unsigned next_code_point(const unsigned char *s, size_t n, size_t *i)
{
    unsigned c = s[*i];
    size_t length = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    if (*i + length > n)
        length = 1;
    if (length > 1)
        c &= 0x7Fu >> length;
    for (size_t k = 1; k < length; k++)
        c = c << 6 | (s[*i + k] & 0x3Fu);
    *i += length;
    return c;
}

typedef struct tally {
    size_t letters, wanted;
    size_t small[LANGUAGES];
} tally;

static void count_word(tally *t, const char *word, size_t n)
{
    char spaced[16] = " ";
    if (n == 0 || n > sizeof spaced - 3)
        return;
    for (size_t i = 0; i < n; i++)
        spaced[1 + i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + 32) : word[i];
    spaced[n + 1] = ' ';
    for (int i = 0; i < LANGUAGES; i++)
        if (languages[i].small_words && strstr(languages[i].small_words, spaced))
            t->small[i]++;
}

static void count_text(tally *t, const char *text, size_t n, unsigned scripts)
{
    size_t word = 0;
    char skip = 0; /* the delimiter of a formula or of code */
    for (size_t i = 0; i < n;) {
        size_t at = i;
        unsigned c = next_code_point((const unsigned char *)text, n, &i);
        if (c == '$' || c == '`') {
            skip = skip == (char)c ? 0 : skip ? skip : (char)c;
        } else if (!skip) {
            script s = script_of(c);
            if (s != SCRIPTS) {
                t->letters++;
                t->wanted += (scripts >> s) & 1;
                continue;
            }
        }
        count_word(t, text + word, at - word);
        word = i;
    }
    count_word(t, text + word, n - word);
}

static double judge(const language *wanted, const char *text, size_t n)
{
    tally t = {0};
    count_text(&t, text, n, wanted->scripts);
    if (t.letters == 0)
        return 1;
    size_t own = t.small[wanted - languages], best = own;
    for (int i = 0; wanted->small_words && i < LANGUAGES; i++)
        best = t.small[i] > best ? t.small[i] : best;
    return own < best ? 0 : (double)t.wanted / (double)t.letters;
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    language_scorer *self = (language_scorer *)base;
    (void)detail;
    (void)err;
    for (size_t i = 0; i < n; i++)
        scores[i].value = judge(self->wanted, records[i].completion ? records[i].completion : "", records[i].completion_length);
    return GRPO_OK;
}

static void destroy(reward_scorer *base)
{
    mem_free(base);
}

grpo_status reward_language_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {score, destroy, 1, NULL};
    const language *wanted = NULL;
    char known[256] = "";
    (void)options;
    for (int i = 0; i < LANGUAGES; i++) {
        if (strcmp(languages[i].code, argument) == 0)
            wanted = &languages[i];
        strncat(known, " ", sizeof known - strlen(known) - 1);
        strncat(known, languages[i].code, sizeof known - strlen(known) - 1);
    }
    if (!wanted)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward language: '%s' is not known; known are:%s", argument, known);
    language_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    self->base.class = &class;
    self->wanted = wanted;
    *out = &self->base;
    return GRPO_OK;
}
