package roster

import "time"

// Hours are stretches of every day.
type Hours []span

// ParseHours reads hours as 08:00-18:00, or 22:00-06:00 over midnight; none are all the time.
func ParseHours(hours []string) (Hours, error) {
	if len(hours) == 0 {
		return nil, nil
	}
	return spansOf(hours)
}

// Next is the first moment not before at that lies in the hours.
func (h Hours) Next(at time.Time, loc *time.Location) time.Time {
	if h == nil {
		return at
	}
	var next time.Time
	local := at.In(loc)
	for day := -1; day <= 1; day++ {
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, loc)
		for _, s := range h {
			from, to := clockOn(midnight, s.from), clockOn(midnight, s.to)
			if !at.Before(from) && at.Before(to) {
				return at
			}
			if from.After(at) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return next
}
