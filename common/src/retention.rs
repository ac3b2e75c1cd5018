//! How long data is kept: whole calendar months (UTC), so that whole partitions go.

use time::{Month, OffsetDateTime, Time};

/// Where the months that are kept begin: so many whole months before the present one.
pub fn cut(now: OffsetDateTime, months: u32) -> OffsetDateTime {
    let now = now.to_offset(time::UtcOffset::UTC);
    let present = i64::from(now.year()) * 12 + i64::from(u8::from(now.month())) - 1;
    let first = present - i64::from(months);
    let month = u8::try_from(first.rem_euclid(12) + 1).ok().and_then(|month| Month::try_from(month).ok());
    let date = i32::try_from(first.div_euclid(12))
        .ok()
        .zip(month)
        .and_then(|(year, month)| time::Date::from_calendar_date(year, month, 1).ok());
    date.map_or(OffsetDateTime::UNIX_EPOCH, |date| date.with_time(Time::MIDNIGHT).assume_utc())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::cut;

    /// Goal: the cut is a month's first moment in UTC, over the turns of years, whatever the zone of the present.
    #[test]
    fn the_months_that_are_kept_begin_with_a_month() {
        for (now, months, first) in [
            (datetime!(2026-11-26 12:00 UTC), 1, datetime!(2026-10-01 00:00 UTC)),
            (datetime!(2026-11-26 12:00 UTC), 10, datetime!(2026-01-01 00:00 UTC)),
            (datetime!(2026-11-26 12:00 UTC), 11, datetime!(2025-12-01 00:00 UTC)),
            (datetime!(2026-01-01 00:00 UTC), 12, datetime!(2025-01-01 00:00 UTC)),
            (datetime!(2026-01-01 00:30 +1), 1, datetime!(2025-11-01 00:00 UTC)),
            (datetime!(2028-02-29 23:59 UTC), 24, datetime!(2026-02-01 00:00 UTC)),
        ] {
            assert_eq!(cut(now, months), first, "{months} months before {now}");
        }
    }
}
