"""Taobao's display advertisements (Tianchi 56): ``raw_sample.csv``, ``ad_feature.csv`` and
``user_profile.csv``, as they are downloaded.

Numbers with a comment come from counts of the real files that others published; ``assumed`` names
those that nobody has. ``raw_sample.csv`` is grouped by advertisement, as the real one, and has no
order in time inside.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from recbole_cold.testing.big import _arrow
from recbole_cold.testing.big._draws import (
    Owners,
    apportioned,
    grouped,
    lognormal_counts,
    permuted,
    uniform,
)
from recbole_cold.testing.big._log import Drawn, Log, Shape, Side, Text, difference_of
from recbole_cold.testing.big._time import HOURS_OF_DAY, Clock, Hours, births, evening

CATEGORIES, CAMPAIGNS, CUSTOMERS, BRANDS = 6_769, 423_436, 255_875, 99_814
NO_BRAND = 0.2909  # share of the advertisements
NO_PROFILE = 79_961 / 1_141_729  # share of the users
PLACES = ("430548_1007", "430539_1007")
FIRST_PLACE, PLACE_CTR = 0.620262, (0.05013, 0.05358)
FIRST_DAY = 1_493_942_400  # 2017-05-05 00:00 UTC; the log begins at 16:00, which is midnight there
ROWS_OF_DAYS = (
    443_443, 3_290_746, 3_373_322, 3_359_443, 3_255_134, 3_347_045, 3_368_931, 3_271_392, 2_848_505,
)  # fmt: skip
TIME_ZONE = 8  # hours before UTC
FEMALE = 0.644
AGES = (501, 65_568, 189_617, 307_340, 261_751, 214_462, 22_529)
PRICE_LEVELS = (154_436, 293_656, 37_759, 575_917)  # 1, 2, 3, and none (54.24 %)
CITY_LEVELS = (0.135, 0.284, 0.148, 0.1081, 0.3249)  # 1 to 4, whose shares are assumed, and none
SHOPPING = (0.1, 0.15, 0.75)
STUDENTS = 0.06
SEGMENTS = 97
MOST_CENTS = 9_999_999_900  # 99,999,999.0, the dearest


def hours() -> Hours:
    """Every hour from 2017-05-05 16:00 to 2017-05-13 16:00 UTC, by the rows of its date."""
    number = np.arange(16, 8 * 24 + 16)
    shares = np.array(HOURS_OF_DAY)[(number + TIME_ZONE) % 24]
    date = number // 24
    of_date = np.bincount(date, weights=shares)
    starts = FIRST_DAY + 3600 * np.arange(16, 8 * 24 + 17)
    return Hours(starts.astype(np.float64), np.array(ROWS_OF_DAYS)[date] * shares / of_date[date])


class TaobaoAd(Log):
    """26,557,961 impressions of 846,811 advertisements, 1,141,729 users, 5.14 % clicks."""

    name, file = "taobao-ad", "raw_sample.csv"
    header = "user,time_stamp,adgroup_id,pid,nonclk,clk\n"
    item_name = "ads"
    paper_split = (2000, 500)
    full = Shape(
        rows=26_557_961, users=1_141_729, items=846_811, ctr=0.0514368, sigma_users=1.45,
        sigma_items=2.0, crossed=0.5, item=0.9, user=0.4, row_bytes=46,
    )  # fmt: skip
    assumed = (
        "rows per ad and per user are lognormal; sizes of categories, brands, campaigns, customers",
        "shares of cms_segid, shopping_level, occupation and of the four city levels; prices",
        "features of an ad do not depend on each other, but for campaign and customer",
        "who sees an ad does not depend on what he likes",
        "births of ads; all strengths in the logit, but for pid and the clicked ads they imply",
    )

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__(shape, seed)
        self._ads(self.part_of_items)
        self._profiles()
        rng = self.rng("rows per ad")
        self.of_ads = Owners(
            lognormal_counts(shape.items, shape.rows, shape.sigma_items or 0.0, rng, "ads")
        )
        rng = self.rng("rows per user")
        self.of_users = Owners(
            lognormal_counts(shape.users, shape.rows, shape.sigma_users, rng, "users")
        )
        born = births(shape.items, self.rng("births"))
        self.clock = Clock(born, self.of_ads.counts, hours())
        self.finish(
            {name: Side(codes, 1.0) for name, codes in self.profile.items()},
            {
                "category": Side(self.category, 0.45),
                "brand": Side(self.brand, 0.25),
                "customer": Side(self.customer, 0.2),
                "price": Side(np.log(self.cents), 0.1),
            },
        )

    def _ads(self, part) -> None:
        """Features of the ads: category, campaign, the campaign's customer, brand, price."""
        n, rng = self.shape.items, self.rng("ads")
        campaigns = part(CAMPAIGNS)
        self.category = grouped(n, part(CATEGORIES), 1.8, rng)
        self.campaign = grouped(n, campaigns, 0.9, rng)
        self.customer = grouped(campaigns, min(campaigns, part(CUSTOMERS)), 0.8, rng)[self.campaign]
        branded = n - round(NO_BRAND * n)
        brands = min(branded, part(BRANDS))
        # The last code is that of no brand.
        self.brand = np.full(n, brands, dtype=np.int32)
        self.brand[rng.permutation(n)[:branded]] = grouped(branded, brands, 1.5, rng)
        cents = np.exp(rng.normal(np.log(19_800), 1.5, n))
        self.cents = np.clip(np.rint(cents), 1, MOST_CENTS)

    def _profiles(self) -> None:
        """Features of the users, with a code of its own for those without a profile."""
        n, rng = self.shape.users, self.rng("profiles")
        known = n - round(NO_PROFILE * n)
        self.has_profile = np.zeros(n, dtype=bool)
        self.has_profile[rng.permutation(n)[:known]] = True
        age = apportioned(known, AGES, rng)
        female = apportioned(known, (1 - FEMALE, FEMALE), rng)
        segment = np.r_[0.5, 0.5 / np.arange(1, SEGMENTS) / np.sum(1 / np.arange(1, SEGMENTS))]
        columns = {
            "cms_segid": apportioned(known, segment, rng),
            # Thirteen groups: one of age 0, then one per age of women, and of men.
            "cms_group_id": np.where(age == 0, 0, age + 6 * (1 - female)),
            "final_gender_code": 1 + female,
            "age_level": age,
            "pvalue_level": 1 + apportioned(known, PRICE_LEVELS, rng),
            "shopping_level": 1 + apportioned(known, SHOPPING, rng),
            "occupation": apportioned(known, (1 - STUDENTS, STUDENTS), rng),
            "new_user_class_level": 1 + apportioned(known, CITY_LEVELS, rng),
        }
        self.profile = {}
        for name, values in columns.items():
            codes = np.full(n, values.max() + 1, dtype=np.int16)
            codes[self.has_profile] = values
            self.profile[name] = codes

    @property
    def item_counts(self) -> np.ndarray:
        return self.of_ads.counts

    def draw(self, rows: np.ndarray) -> Drawn:
        ad = self.of_ads.of(rows)
        user = self.of_users.of(permuted(self.key("user"), rows, self.shape.rows))
        seconds = self.clock.seconds(ad, uniform(self.key("time"), rows))
        place = (uniform(self.key("pid"), rows) >= FIRST_PLACE).astype(np.int8)
        effect = (
            evening(seconds + 3600 * TIME_ZONE) + difference_of(PLACE_CTR[1], PLACE_CTR[0]) * place
        )
        return Drawn(user, ad, effect, {"time_stamp": seconds, "pid": place})

    def cells(self, rows: np.ndarray, drawn: Drawn, click: np.ndarray) -> list[pa.Array]:
        clicked = click.astype(np.int8)
        return [
            pa.array(drawn.user + 1),
            pa.array(drawn.columns["time_stamp"]),
            pa.array(drawn.item + 1),
            _arrow.words(drawn.columns["pid"], PLACES),
            pa.array(1 - clicked),
            pa.array(clicked),
        ]

    def side_files(self) -> Iterator[Text]:
        """The ads by customer and campaign, the profiles by user."""
        order = np.lexsort((self.campaign, self.customer))
        no_brand = self.brand == self.brand.max()
        yield Text(
            "ad_feature.csv",
            "adgroup_id,cate_id,campaign_id,customer,brand,price\n",
            [
                pa.array(order + 1),
                *(pa.array(each[order] + 1) for each in (self.category, self.campaign)),
                pa.array(self.customer[order] + 1),
                _arrow.or_word(self.brand[order] + 1, no_brand[order], "NULL"),
                _arrow.money(self.cents[order]),
            ],
        )
        users = np.flatnonzero(self.has_profile)
        missing = {"pvalue_level": len(PRICE_LEVELS), "new_user_class_level": len(CITY_LEVELS)}
        columns = [pa.array(users + 1)]
        for name, codes in self.profile.items():
            values = codes[users]
            columns.append(_arrow.or_empty(values, values == missing.get(name, -1)))
        # The last name of the header ends with a blank, in the official file too.
        yield Text("user_profile.csv", f"userid,{','.join(self.profile)} \n", columns)
