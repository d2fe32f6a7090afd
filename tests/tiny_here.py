"""The tiny seeded data set of most tests, as rows of texts."""

import numpy as np

OLD, NEW, RARE = 15, 18, 7  # items by the rule N = 30, K = 3
USERS = 60


def tiny_files(seed: int = 7) -> dict[str, list[list[str]]]:
    """60 users, 40 items (15 old, 18 new, 7 too rare), and labels that features can predict."""
    rng = np.random.default_rng(seed)
    genres = np.array(["drama", "comedy", "crime", "war"])
    words = np.array(["the", "last", "red", "night", "road", "of", "river"])
    counts = np.r_[rng.integers(34, 58, OLD), rng.integers(11, 30, NEW), rng.integers(1, 9, RARE)]
    n_items = len(counts)
    genre = rng.integers(len(genres), size=n_items)
    second = rng.integers(len(genres), size=n_items)
    taste = rng.normal(size=(USERS, len(genres)))
    quality = rng.normal(size=n_items)
    item = np.repeat(np.arange(n_items), counts)
    user = np.concatenate([rng.choice(USERS, size=n, replace=False) for n in counts])
    when = 1_000_000 + rng.permutation(len(item)) // 2  # two rows share each second
    score = taste[user, genre[item]] + quality[item] + 0.3 * rng.normal(size=len(item))
    rating = np.digitize(score, [-2, -1, 0, 1]) + 1
    device = rng.choice(["phone", "desk", "tv"], size=len(item))
    order = rng.permutation(len(item))
    inter = [["user_id:token", "item_id:token", "rating:float", "timestamp:float", "device:token"]]
    inter += [
        [f"u{user[n]}", f"i{item[n]}", str(rating[n]), str(when[n]), device[n]] for n in order
    ]
    users = [["user_id:token", "age:token", "gender:token", "income:float"]]
    users += [
        [f"u{u}", str(rng.integers(2, 6) * 10), rng.choice(["F", "M"]), f"{rng.uniform():.3f}"]
        for u in rng.permutation(USERS)
    ]
    items = [["item_id:token", "title:token_seq", "year:token", "genre:token_seq", "price:float"]]
    for i in rng.permutation(n_items):
        title = " ".join(rng.choice(words, size=rng.integers(1, 5)))
        both = " ".join(dict.fromkeys([genres[genre[i]], genres[second[i]]]))
        items.append([f"i{i}", title, str(1990 + i % 9), both, f"{quality[i] ** 2:.3f}"])
    return {"inter": inter, "user": users, "item": items}
