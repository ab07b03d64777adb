package config

import (
	"net/netip"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/store"
)

const day = 24 * time.Hour

// Defaults is the configuration of an empty file. Rules have none: they are
// what a site is about.
func Defaults() *Config {
	return &Config{
		Edge: Edge{
			SIP: SIP{
				Listen:   []string{"udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"},
				MaxCalls: 10000, UnknownSource: "ignore", DID: "uri",
			},
			Media: Media{
				Ports: PortRange{20000, 29999}, Codecs: []string{"PCMA", "PCMU"},
				Silence: 30 * time.Second, HoldSilence: time.Hour,
			},
			HTTP: HTTP{Listen: "127.0.0.1:8080"},
		},
		Place: Place{
			Store: NewSecret("sqlite:frontdesk.db"), Timezone: "Europe/Moscow", Country: "RU",
			Log: Log{Level: "info", Format: "json", Numbers: "masked"},
		},
		Parties:   defaultParties(),
		Service:   defaultService(),
		Reception: defaultReception(),
	}
}

func defaultParties() Parties {
	carrier := defaultTrunk()
	carrier.Name = "carrier"
	return Parties{
		Trunks: Trunks{carrier},
		PBX: PBX{
			SIP: []string{"sip:127.0.0.1:5070"}, Ring: 25 * time.Second, Failover: 4 * time.Second, ReferOutside: "refuse",
			Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"},
		},
		CRM: CRM{
			Deadline: 2500 * time.Millisecond,
			Prefer:   "live",
			Bitrix24: Bitrix24{
				Webhook: NewSecret("http://127.0.0.1:9000/rest/1/secret/"),
				Fields: Fields{
					Manager: "UF_CRM_FD_MANAGER", TemporaryManager: "UF_CRM_FD_TEMP_MANAGER",
					TemporaryUntil: "UF_CRM_FD_TEMP_UNTIL", Direct: "UF_CRM_FD_DIRECT",
					NoSticking: "UF_CRM_FD_NO_STICKY", StickyMinutes: "UF_USR_FD_STICKY",
				},
				Rate: Rate{PerSecond: crm.DefaultRate, Burst: crm.DefaultBurst},
			},
			Mirror: Mirror{Enabled: true, MaxAge: day, Every: 5 * time.Minute},
			Leads:  Leads{Closed: "ignore"},
		},
	}
}

func defaultService() Service {
	return Service{
		Sticky:     Sticky{Time: 15 * time.Minute},
		Staff:      Staff{Every: 30 * time.Second},
		CallLog:    CallLog{MissedOwner: "placeholder", History: store.DefaultHistory},
		Recordings: Recordings{Mode: "off", Keep: 30 * day, Dir: "recordings/", Announce: "Разговор может быть записан."},
		Phonebook:  Phonebook{Every: day},
		Mail:       Mail{From: "frontdesk@localhost"},
	}
}

func defaultReception() Reception {
	return Reception{
		Greeting: Greeting{
			Engine: "espeak", Via: "early",
			Text:     "Соединяю вас с сотрудником {{.Manager.FirstName}} {{.Manager.LastName}}. Вы можете набрать внутренний номер.",
			Language: "ru-RU", Cache: "greetings/",
		},
		Digits:  Digits{Next: 3 * time.Second, Max: 4, End: "#"},
		Blocked: Blocked{Action: "reject"},
	}
}

// The defaults of what a file may name any number of times, or not at all.
func defaultTrunk() Trunk {
	return Trunk{
		Sources:  []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32)},
		Transfer: []call.Transfer{call.TransferRedirect, call.TransferRefer, call.TransferBridge},
		Identity: "auto",
	}
}

func defaultXAPI() XAPI { return XAPI{Refresh: time.Minute, Rate: 10} }
