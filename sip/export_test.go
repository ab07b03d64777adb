package sip

// Held is what the shards of a stack hold, for tests.
type Held struct{ Servers, Merging, Clients, Legs, Timers, Calls int }

// Held counts what s holds; everything is 0 once every call has ended and its
// transactions have run out.
func (s *Stack) Held() Held {
	return Held{
		Servers: s.sum(func(sh *shard) int { return len(sh.servers) }),
		Merging: s.sum(func(sh *shard) int { return len(sh.merging) }),
		Clients: s.sum(func(sh *shard) int { return len(sh.clients) }),
		Legs:    s.sum(func(sh *shard) int { return len(sh.legs) }),
		Timers:  s.sum(func(sh *shard) int { return sh.wheel.count }),
		Calls:   s.Active(),
	}
}
