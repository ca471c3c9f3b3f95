package localapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
)

// guard lets through who may ask. Without a key that is programs of this machine, and pages of this server under its own
// names: a page elsewhere whose name leads here (DNS rebinding) and a page elsewhere that posts here are refused. There is
// no CORS.
func (s *Server) guard(next http.Handler) http.Handler {
	own := ""
	if u, err := url.Parse(s.Config.URL); err == nil {
		own = u.Hostname()
	}
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				s.Log.Error().Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("A request panicked.")
				s.problem(w, refuse(http.StatusInternalServerError, "internal", "", "The request failed inside the server; its log has the cause."))
			}
		}()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		switch {
		case s.Config.Key == "" && !ownName(r.Host, own):
			s.problem(w, refuse(http.StatusMisdirectedRequest, "wrong_host", "", "This server answers to localhost only; for another name set LOCAL_API_URL, or a key in LOCAL_API_KEY."))
		case origins.Check(r) != nil:
			s.problem(w, refuse(http.StatusForbidden, "cross_origin", "", "Pages of other origins may not use this server."))
		case s.Config.Key != "" && !free(r.URL.Path) && !s.hasKey(r):
			h.Set("WWW-Authenticate", "Bearer")
			s.problem(w, refuse(http.StatusUnauthorized, "unauthorized", "", "Send the server's key (LOCAL_API_KEY) as the header \"Authorization: Bearer KEY\"."))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ownName reports whether a Host header names this machine, or the server's own address.
func ownName(host, own string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback() || own != "" && strings.EqualFold(host, own)
}

// free reports whether a path needs no key: the page, which asks for it, links that are signed, and probes.
func free(path string) bool {
	return path == "/" || path == "/ping" || path == "/healthz" || strings.HasPrefix(path, "/page/") || strings.HasPrefix(path, "/files/")
}

// hasKey compares hashes, which have one length, in constant time.
func (s *Server) hasKey(r *http.Request) bool {
	given := strings.TrimSpace(r.Header.Get("Authorization"))
	if len(given) > 7 && strings.EqualFold(given[:7], "Bearer ") {
		given = strings.TrimSpace(given[7:])
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.Config.Key))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
