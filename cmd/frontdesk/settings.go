package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"frontdesk/b2bua"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// promptWait is how long a live call waits for a greeting that is not rendered
// yet; then it goes on without.
const promptWait = 300 * time.Millisecond

// newSettings is what a configuration says of calls.
func newSettings(cfg *config.Config, nodes *b2bua.Nodes) (*b2bua.Settings, error) {
	s := &b2bua.Settings{
		Plan: cfg.Plan, Trunks: make(map[string]b2bua.Trunk, len(cfg.Trunks)),
		PBX: b2bua.PBX{
			Nodes: nodes, Ring: cfg.PBX.Ring, Failover: cfg.PBX.Failover, ReferOutside: cfg.PBX.ReferOutside == "dial",
		},
		Country: cfg.Country, Zone: cfg.Zone, Deadline: cfg.CRM.Deadline,
		Greeting: b2bua.Greeting{
			Say: cfg.Greeting.Say, Answer: cfg.Greeting.Via == "answer", Wait: promptWait,
		},
		Record: b2bua.Recording{On: cfg.Recordings.Mode != "off", Announce: cfg.Recordings.Announce},
		Digits: b2bua.Digits{First: cfg.Digits.First, Next: cfg.Digits.Next, Max: cfg.Digits.Max},
	}
	if cfg.Digits.End != "" {
		s.Digits.End = cfg.Digits.End[0]
	}
	for _, name := range cfg.Media.Codecs {
		c, ok := sdp.ParseCodec(name)
		if !ok {
			return nil, fmt.Errorf("codec %s cannot be played", name)
		}
		s.Codecs = append(s.Codecs, c)
	}
	for _, t := range cfg.Trunks {
		s.Trunks[t.Name] = newTrunk(t, cfg.SIP.DID)
	}
	return s, nil
}

func newTrunk(t config.Trunk, did string) b2bua.Trunk {
	out := b2bua.Trunk{
		Name: t.Name, Transfer: t.Transfer, NAT: t.NAT, Target: t.SIP,
		DIDFromTo: cmp.Or(t.DID, did) == "to", Identity: b2bua.Identity(t.Identity),
	}
	out.Credentials = credentials(t)
	return out
}

func credentials(t config.Trunk) *sip.Credentials {
	switch {
	case t.Auth != nil:
		return &sip.Credentials{User: t.Auth.User, Password: t.Auth.Password.Reveal()}
	case t.Register != nil:
		return &sip.Credentials{User: t.Register.User, Password: t.Register.Password.Reveal()}
	}
	return nil
}

// newDirectory is the portal's client; nil where no webhook is configured.
func newDirectory(cfg *config.Config, log *slog.Logger) (*crm.Client, error) {
	if cfg.CRM.Bitrix24.Webhook.Reveal() == "" {
		return nil, nil
	}
	return crm.New(portalConfig(cfg, log))
}

// portalConfig is what a configuration says of the portal.
func portalConfig(cfg *config.Config, log *slog.Logger) crm.Config {
	b := cfg.CRM.Bitrix24
	return crm.Config{
		Webhook: crm.Webhook(b.Webhook.Reveal()), Voices: crm.Voices{Employees: employeeWebhooks(b)}, Country: cfg.Country, Zone: cfg.Zone, Logger: log,
		Rate: crm.Rate{PerSecond: float64(b.Rate.PerSecond), Burst: b.Rate.Burst},
		Fields: crm.Fields{
			Manager: b.Fields.Manager, Temporary: b.Fields.TemporaryManager, Until: b.Fields.TemporaryUntil,
			Direct: b.Fields.Direct, NoSticky: b.Fields.NoSticking, Sticky: b.Fields.StickyMinutes,
			Extra: cfg.Plan.Fields(),
		},
	}
}

func employeeWebhooks(b config.Bitrix24) map[int]crm.Webhook {
	out := make(map[int]crm.Webhook, len(b.Employees))
	for id, w := range b.Employees {
		out[id] = crm.Webhook(w.Reveal())
	}
	return out
}

// pbxPeer is the name under which PBX nodes are known.
const pbxPeer = "pbx"

// newPeers are all who may talk to us: the trunks by their sources, the PBX's
// nodes by address. A node on an address that a trunk uses too is told by its
// port.
func newPeers(ctx context.Context, cfg *config.Config) ([]sip.Peer, error) {
	var peers []sip.Peer
	for _, t := range cfg.Trunks {
		sources, err := trunkSources(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("trunks.%s: %w", t.Name, err)
		}
		peers = append(peers, sip.Peer{
			Name: t.Name, Sources: sources, TrustIdentity: t.Identity != "from", Credentials: credentials(t),
		})
	}
	trunks := peers
	for _, node := range cfg.PBX.SIP {
		addrs, err := nodeAddresses(ctx, node)
		if err != nil {
			return nil, fmt.Errorf("pbx.sip %s: %w", node, err)
		}
		for _, a := range addrs {
			p := sip.Peer{Name: pbxPeer, PBX: true, Sources: []netip.Prefix{netip.PrefixFrom(a.Addr(), a.Addr().BitLen())}}
			if shared(a.Addr(), trunks) {
				p.Port = a.Port()
			}
			peers = append(peers, p)
		}
	}
	return peers, nil
}

// trunkSources are the addresses a trunk's requests come from: those written,
// else those of its registrar.
func trunkSources(ctx context.Context, t config.Trunk) ([]netip.Prefix, error) {
	if len(t.Sources) > 0 || t.Register == nil {
		return t.Sources, nil
	}
	addrs, err := nodeAddresses(ctx, t.Register.Registrar)
	if err != nil {
		return nil, fmt.Errorf("registrar %s: %w", t.Register.Registrar, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		out = append(out, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
	}
	return out, nil
}

func shared(a netip.Addr, trunks []sip.Peer) bool {
	for _, t := range trunks {
		for _, p := range t.Sources {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}

// nodeAddresses are the addresses of a node's URI; a name is looked up once.
func nodeAddresses(ctx context.Context, uri string) ([]netip.AddrPort, error) {
	hostport := uriHost(uri)
	host, port := strings.Trim(hostport, "[]"), uint64(5060)
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		host = h
		if port, err = strconv.ParseUint(p, 10, 16); err != nil {
			return nil, fmt.Errorf("port %s: %w", p, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		out[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return out, nil
}

// uriHost is the host and port of a SIP URI.
func uriHost(uri string) string {
	hostport, _, _ := strings.Cut(strings.TrimPrefix(uri, "sip:"), ";")
	return hostport[strings.LastIndexByte(hostport, '@')+1:]
}
