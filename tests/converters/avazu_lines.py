"""Lines of Avazu's ``train.csv``, in its form; ids of 64 bits and the null device among them."""

import numpy as np

AVAZU = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
AVAZU_ROWS = [
    "1000009418151094273,0,14102100,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    "a99f214a,ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79",
    "18446744073709551615,1,14102123,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    "a99f214a,96809ac8,711ee120,1,0,15704,320,50,1722,0,35,100084,79",
    "18446744073709551614,0,14102201,1002,1,85f751fd,c4e18dd6,50e219e0,d36838b1,d9b5648e,0f2161f8,"
    "a99f214a,ddd2926e,44956a24,1,0,15706,320,50,1722,0,35,-1,79",
    "10000679056417042096,1,14103023,1005,0,85f751fd,c4e18dd6,50e219e0,d36838b1,d9b5648e,0f2161f8,"
    "c357dbff,f1ac7184,373ecbe6,1,0,20345,300,250,2331,2,39,-1,23",
]

NULL_DEVICE, NO_SITE, NO_APP = "a99f214a", "85f751fd", "ecad2386"


def synthetic_log(rows=5000, users=150, items=40, seed=3):
    """Lines of a made-up log with the shape of the real one, its header left out.

    Shares are those of a sample of the real log: 17 % clicks, 82 % of the rows of the null device,
    240 hours with many rows in each, a few items with most of the rows. Clicks follow from what a
    user and an item have in common, from the item itself, and from whether it was shown on a site.
    C17 and C21 belong to the item.
    """
    rng = np.random.default_rng(seed)
    item = rng.choice(items, rows, p=_shares(rng.lognormal(sigma=1.2, size=items)))
    user = rng.choice(users, rows, p=_shares(rng.lognormal(sigma=0.4, size=users)))
    on_site, has_null = rng.random(rows) < 0.64, rng.random(users) < 0.825
    taste, kind = rng.normal(size=(users, 3)), rng.normal(size=(items, 3))
    logit = (taste[user] * kind[item]).sum(axis=1) + rng.normal(size=items)[item] + 0.4 * on_site
    click = rng.random(rows) < 1 / (1 + np.exp(-(logit + _intercept(logit, 0.1698))))
    hours = np.sort(rng.integers(0, 240, rows))
    size = np.where(rng.random(items) < 0.93, "320,50", "300,250")
    found = []
    for n, (i, u, hour) in enumerate(zip(item, user, hours, strict=True)):
        site = f"{0x1FBE0000 + u % 7:08x},f3845767,28905ebd" if on_site[n] else (
            f"{NO_SITE},c4e18dd6,50e219e0"
        )  # fmt: skip
        app = f"{NO_APP},7801e8d9,07d7df22" if on_site[n] else (
            f"{0xD3680000 + i % 5:08x},d9b5648e,0f2161f8"
        )  # fmt: skip
        device = NULL_DEVICE if has_null[u] else f"{0xC3570000 + u:08x}"
        found.append(
            f"{2**63 + n},{int(click[n])},1410{21 + hour // 24}{hour % 24:02},1005,{n % 2},{site},"
            f"{app},{device},{0xDDD20000 + u:08x},{0x44950000 + u % 40:08x},1,{n % 3},{15700 + i},"
            f"{size[i]},{1700 + i % 11},{i % 4},35,{-1 if n % 2 else 100084},{20 + i % 13}"
        )
    return found


def _shares(weights):
    return weights / weights.sum()


def _intercept(logit, share):
    """What is added to the logits, so that the mean chance is ``share``; by halving."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        above = (1 / (1 + np.exp(-(logit + middle)))).mean() > share
        low, high = (low, middle) if above else (middle, high)
    return middle
