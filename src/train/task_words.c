/* Words for the tasks that need some: common English ones of 4 to 12 letters, and made-up ones. */
#include "train/tasks.h"

static const char *const words[] = {
    "ability", "account", "address", "advance", "adventure", "afternoon", "airplane", "alphabet", "animal", "answer",
    "apple", "apartment", "arrange", "article", "attention", "audience", "autumn", "avenue", "balance", "balloon",
    "banana", "basket", "battery", "beautiful", "because", "bedroom", "believe", "between", "bicycle", "birthday",
    "blanket", "blossom", "bottle", "bottom", "breakfast", "bridge", "brother", "building", "butter", "butterfly",
    "button", "cabbage", "calendar", "camera", "candle", "captain", "carpet", "carriage", "castle", "ceiling",
    "center", "century", "chapter", "character", "cheese", "cherry", "chicken", "children", "chocolate", "circle",
    "classroom", "coffee", "college", "color", "comfort", "committee", "company", "computer", "concert", "cookie",
    "copper", "corner", "cottage", "cotton", "country", "courage", "cousin", "crystal", "culture", "cupboard",
    "curtain", "customer", "danger", "daughter", "decade", "december", "decision", "degree", "dentist", "desert",
    "different", "dinner", "discover", "distance", "doctor", "dollar", "dragon", "drawer", "dream", "eleven",
    "elephant", "energy", "engine", "evening", "example", "exercise", "family", "famous", "farmer", "father",
    "feather", "festival", "finger", "flower", "follow", "football", "forest", "fortune", "fountain", "freedom",
    "friend", "future", "garage", "garden", "general", "giraffe", "glass", "golden", "grammar", "grandmother",
    "grass", "guitar", "hammer", "happiness", "harbor", "harvest", "heaven", "helmet", "history", "holiday",
    "honey", "horizon", "hospital", "hotel", "hundred", "imagine", "important", "indeed", "insect", "island",
    "jacket", "jewel", "journey", "kangaroo", "kettle", "keyboard", "kingdom", "kitchen", "kitten", "knowledge",
    "ladder", "language", "lantern", "laughter", "leather", "lemon", "lesson", "letter", "library", "lightning",
    "listen", "little", "machine", "magazine", "manager", "marble", "market", "matter", "meadow", "measure",
    "medicine", "melody", "member", "memory", "message", "middle", "million", "minute", "mirror", "mississippi",
    "moment", "money", "monkey", "morning", "mother", "mountain", "museum", "mushroom", "music", "mystery",
    "nature", "necklace", "needle", "neighbor", "nephew", "nothing", "notebook", "number", "object", "ocean",
    "october", "office", "opinion", "opposite", "orange", "orchard", "package", "paddle", "painter", "palace",
    "paper", "parrot", "passage", "peanut", "pencil", "pepper", "person", "piano", "picture", "pillow",
    "planet", "plastic", "pocket", "poetry", "potato", "present", "president", "problem", "professor", "promise",
    "pumpkin", "puppet", "purple", "puzzle", "quarter", "question", "rabbit", "railroad", "rainbow", "reason",
    "recipe", "record", "refrigerator", "remember", "repeat", "restaurant", "ribbon", "river", "rocket", "saddle",
    "sailor", "salad", "sandwich", "saturday", "scarecrow", "school", "science", "scissors", "season", "secret",
    "sentence", "september", "seven", "shadow", "shoulder", "silver", "simple", "sister", "sleeve", "smooth",
    "soldier", "special", "spider", "spring", "square", "squirrel", "station", "stomach", "strange", "strawberry",
    "street", "student", "subject", "success", "sugar", "summer", "sunset", "support", "surprise", "sweater",
    "table", "teacher", "telephone", "television", "temple", "terrible", "theater", "thousand", "thunder", "ticket",
    "tiger", "tomato", "tomorrow", "towel", "tower", "traffic", "travel", "treasure", "triangle", "trouble",
    "tunnel", "turtle", "twenty", "umbrella", "uncle", "universe", "valley", "vegetable", "village", "violin",
    "visitor", "volcano", "wagon", "walnut", "water", "wedding", "wednesday", "welcome", "whisper", "window",
    "winter", "wisdom", "wonderful", "wooden", "writer", "yellow", "yesterday", "zebra",
};

const char *task_word(task_rng *rng)
{
    return words[task_below(rng, sizeof words / sizeof *words)];
}

void task_made_up_word(strbuf *out, task_rng *rng, long length)
{
    static const char consonants[] = "bcdfghjklmnprstvwz", vowels[] = "aeiou";
    long start = task_between(rng, 0, 1);
    for (long i = 0; i < length; i++)
        strbuf_putc(out, (i + start) % 2 ? vowels[task_below(rng, sizeof vowels - 1)]
                                         : consonants[task_below(rng, sizeof consonants - 1)]);
}
