package doctor

import (
	"fmt"
	"maps"
	"strings"
)

// State is what a check came to.
type State string

// The states. Only a fault makes the result a bad one.
const (
	OK      State = "ok"
	Note    State = "note"    // works, with something worth knowing
	Unknown State = "unknown" // could not be told
	Fault   State = "fault"   // calls fail for somebody until it is changed
)

// Finding is one thing that was looked at. Its sentence says, for a fault, what to change.
type Finding struct {
	Name     string         `json:"name" doc:"What was looked at"`
	State    State          `json:"state" enum:"ok,note,unknown,fault"`
	Code     string         `json:"code" doc:"Stable; docs/calls.md has them all"`
	Sentence string         `json:"sentence" doc:"In the language of the caller"`
	Params   map[string]any `json:"params,omitempty" doc:"The ports, addresses and numbers of the sentence"`
}

// finding is the check of this code; params are key, value, key, value, of which it keeps those that its sentence needs.
func finding(name, code string, params ...any) Finding {
	c := Finding{Name: name, State: catalogue[code].state, Code: code}
	for i := 0; i+1 < len(params); i += 2 {
		name := fmt.Sprint(params[i])
		if !strings.Contains(catalogue[code].en, "{"+name+"}") {
			continue
		}
		if c.Params == nil {
			c.Params = map[string]any{}
		}
		c.Params[name] = params[i+1]
	}
	return c
}

// in is the check with its sentence in a language.
func (c Finding) in(locale string) Finding {
	e := catalogue[c.Code]
	text := e.en
	if strings.HasPrefix(strings.ToLower(locale), "es") {
		text = e.es
	}
	for name, value := range c.Params {
		text = strings.ReplaceAll(text, "{"+name+"}", fmt.Sprint(value))
	}
	c.Sentence, c.Params = text, maps.Clone(c.Params)
	return c
}

// entry is a code of the catalogue.
type entry struct {
	state State
	rank  int // of a fault: the one with the least is the cause, and its sentence the advice
	en,
	es string
}

// Codes are all codes that a check can have, with their states.
func Codes() map[string]State {
	all := map[string]State{}
	for code, e := range catalogue {
		all[code] = e.state
	}
	return all
}

// catalogue is everything that the doctor can say. Codes are stable; sentences may improve.
var catalogue = map[string]entry{
	// The TURN server itself.
	"turn_running": {OK, 0, "The TURN server listens on port {port}, UDP and TCP.", "El servidor TURN escucha en el puerto {port}, UDP y TCP."},
	"turn_off":     {Fault, 1, "Set turn.listen, for example to :3478, and start the server again: its TURN server is off.", "Defina turn.listen, por ejemplo como :3478, y reinicie el servidor: su servidor TURN está apagado."},
	"turn_failed":  {Fault, 1, "Free the address {address} on this host, or choose another with turn.listen, and start the server again: the TURN server could not listen there.", "Libere la dirección {address} en este equipo, o elija otra con turn.listen, y reinicie el servidor: el servidor TURN no pudo escuchar en ella."},

	// Its address.
	"address_configured": {OK, 0, "Clients are given the configured address {public}.", "Los clientes reciben la dirección configurada {public}."},
	"address_learned":    {OK, 0, "Clients are given the address {public}, which {server} sees.", "Los clientes reciben la dirección {public}, que es la que ve {server}."},
	"address_interface":  {OK, 0, "Clients are given the address {public}, which this host has itself.", "Los clientes reciben la dirección {public}, que es la de este equipo."},
	"address_home":       {Note, 0, "Clients are given the private address {public}: calls connect in this network, and not from outside.", "Los clientes reciben la dirección privada {public}: las llamadas conectan en esta red, y no desde fuera."},
	"address_private":    {Fault, 3, "Set turn.public_ip to the public address of the router, because {host} is public and clients are given the private address {public}.", "Defina turn.public_ip con la dirección pública del router, porque {host} es público y los clientes reciben la dirección privada {public}."},
	"address_wrong":      {Fault, 2, "Set turn.public_ip to {seen}, because clients are given {public}, where this server is not.", "Defina turn.public_ip como {seen}, porque los clientes reciben {public}, donde este servidor no está."},
	"address_unreached":  {Fault, 6, "Set turn.public_ip to the address of {host}, because clients reach the server by that name and not at {public}.", "Defina turn.public_ip con la dirección de {host}, porque los clientes llegan al servidor por ese nombre y no en {public}."},
	"name_right":         {OK, 0, "The name {host} leads to {public}.", "El nombre {host} lleva a {public}."},
	"name_unknown":       {Unknown, 0, "The name {host} could not be looked up from here.", "El nombre {host} no se pudo consultar desde aquí."},
	"name_elsewhere":     {Fault, 4, "Let the name {host} lead to {public} and past any proxy of others, or set turn.public_ip to {seen}: clients look for TURN at {seen}, where the name leads.", "Haga que el nombre {host} lleve a {public} sin pasar por proxies de otros, o defina turn.public_ip como {seen}: los clientes buscan TURN en {seen}, adonde lleva el nombre."},

	// What stands between it and the world.
	"nat_none":         {OK, 0, "No NAT stands before {public}.", "No hay NAT delante de {public}."},
	"nat_same":         {OK, 0, "The router gives this host the same port for every destination (endpoint-independent mapping).", "El router da a este equipo el mismo puerto para cualquier destino (asignación independiente del destino)."},
	"nat_symmetric":    {Note, 0, "The router gives every destination another port (symmetric NAT): UDP ports {ports} must be forwarded to {local} for calls to connect.", "El router da otro puerto a cada destino (NAT simétrico): los puertos UDP {ports} deben redirigirse a {local} para que las llamadas conecten."},
	"nat_unasked":      {Unknown, 0, "The type of NAT is unknown: no outside server is configured (turn.stun_server).", "El tipo de NAT se desconoce: no hay ningún servidor externo configurado (turn.stun_server)."},
	"nat_unsure":       {Unknown, 0, "The type of NAT is unknown: the outside server {server} answers at one address only.", "El tipo de NAT se desconoce: el servidor externo {server} responde en una sola dirección."},
	"outside_silent":   {Fault, 8, "Let UDP out from {local} and its answers back in: the outside server {server} does not answer.", "Permita que UDP salga de {local} y que vuelvan sus respuestas: el servidor externo {server} no responde."},
	"hairpin_works":    {OK, 0, "The server reaches itself at {public}, so calls inside the network connect too.", "El servidor llega a sí mismo en {public}, así que las llamadas dentro de la red también conectan."},
	"hairpin_unneeded": {OK, 0, "This host has {public} itself: nothing has to lead back inside.", "Este equipo tiene {public}: nada tiene que volver hacia dentro."},
	"hairpin_missing":  {Fault, 9, "Turn on NAT loopback (hairpin) on the router for UDP and TCP port {port} of {public} to {local}, or let the name of the server lead to {local} inside the network.", "Active el NAT loopback (hairpin) en el router para el puerto {port} UDP y TCP de {public} hacia {local}, o haga que el nombre del servidor lleve a {local} dentro de la red."},
	"hairpin_unknown":  {Unknown, 0, "Whether the router leads its own address back inside is unknown: the public address is not.", "No se sabe si el router devuelve su propia dirección hacia dentro: la dirección pública se desconoce."},
	"ipv6_works":       {OK, 0, "Clients with IPv6 are given {public}.", "Los clientes con IPv6 reciben {public}."},
	"ipv6_private":     {Note, 0, "The IPv6 address {public} is for this network alone: calls from outside go by IPv4.", "La dirección IPv6 {public} es solo de esta red: las llamadas desde fuera van por IPv4."},
	"ipv6_none":        {Note, 0, "This host has no IPv6: clients without IPv4 cannot call through it, so let the router give it an address.", "Este equipo no tiene IPv6: los clientes sin IPv4 no pueden llamar a través de él, así que haga que el router le dé una dirección."},

	// Its certificate.
	"certificate_valid":     {OK, 0, "The certificate of TURN over TLS is good for {host} until {until}.", "El certificado de TURN sobre TLS vale para {host} hasta {until}."},
	"certificate_none":      {Note, 0, "There is no certificate (tls_cert, tls_key), so there is no TURN over TLS: networks that let only HTTPS through have no calls.", "No hay certificado (tls_cert, tls_key), así que no hay TURN sobre TLS: las redes que solo dejan pasar HTTPS no tienen llamadas."},
	"certificate_ends":      {Note, 0, "Renew the certificate {file} for {host}: it ends at {until}.", "Renueve el certificado {file} de {host}: caduca el {until}."},
	"certificate_expired":   {Fault, 5, "Renew the certificate {file}: it ended at {until}, so clients refuse TURN over TLS.", "Renueve el certificado {file}: caducó el {until}, así que los clientes rechazan TURN sobre TLS."},
	"certificate_early":     {Fault, 5, "Set the clock of this host, or wait: the certificate {file} begins at {from}.", "Ponga en hora este equipo, o espere: el certificado {file} empieza el {from}."},
	"certificate_name":      {Fault, 5, "Put a certificate for {host} in {file}: the one there is for {names}, so clients refuse TURN over TLS.", "Ponga en {file} un certificado para {host}: el que hay es para {names}, así que los clientes rechazan TURN sobre TLS."},
	"certificate_chain":     {Fault, 5, "Put the whole chain of a certificate that browsers trust in {file}, those between it and the root included: this one leads to no root that this host knows.", "Ponga en {file} la cadena completa de un certificado en el que confíen los navegadores, incluidos los intermedios: este no lleva a ninguna raíz que conozca este equipo."},
	"certificate_unchecked": {Unknown, 0, "The certificate is good until {until}; its name cannot be checked without public_url.", "El certificado vale hasta {until}; su nombre no se puede comprobar sin public_url."},

	// The server through its own doors.
	"relay_works":        {OK, 0, "A relay over {transport} at {at} carries packets: {rtt} ms there and back.", "Un relé por {transport} en {at} lleva paquetes: {rtt} ms de ida y vuelta."},
	"door_closed":        {Fault, 7, "Let {transport} port {port} through the firewall of this host: its own server does not answer at {at}.", "Permita el puerto {port} {transport} en el cortafuegos de este equipo: su propio servidor no responde en {at}."},
	"relay_refused":      {Fault, 7, "Free UDP ports of {ports} (turn.ports) on this host: the server gave no relay over {transport}.", "Libere puertos UDP de {ports} (turn.ports) en este equipo: el servidor no dio ningún relé por {transport}."},
	"relay_carries_none": {Fault, 7, "Let UDP ports {ports} through the firewall of this host: a relay over {transport} was made and carries nothing.", "Permita los puertos UDP {ports} en el cortafuegos de este equipo: se creó un relé por {transport} y no lleva nada."},

	// A browser, from where it is.
	"gathered":       {OK, 0, "Addresses that the browser found: {own} of its own, {seen} that STUN saw.", "Direcciones que encontró el navegador: {own} propias, {seen} vistas por STUN."},
	"call_works":     {OK, 0, "A call over {transport} connects: {loss} % lost, {rtt} ms there and back, {jitter} ms jitter.", "Una llamada por {transport} conecta: {loss} % perdido, {rtt} ms de ida y vuelta, {jitter} ms de fluctuación."},
	"call_slow":      {Note, 0, "A call over {transport} connects and is slow: {loss} % lost, {rtt} ms there and back, {jitter} ms jitter.", "Una llamada por {transport} conecta y es lenta: {loss} % perdido, {rtt} ms de ida y vuelta, {jitter} ms de fluctuación."},
	"call_lossy":     {Fault, 17, "Use a cable or come nearer to the Wi-Fi, and look for a line that is full: over {transport} {loss} % of the packets are lost, with {rtt} ms there and back and {jitter} ms jitter.", "Use un cable o acérquese al Wi-Fi, y busque una línea saturada: por {transport} se pierde el {loss} % de los paquetes, con {rtt} ms de ida y vuelta y {jitter} ms de fluctuación."},
	"turn_unreached": {Fault, 2, "Forward UDP and TCP port {port} and UDP ports {ports} on the router to {local}: no TURN server answers this browser at {host}.", "Redirija en el router el puerto {port} UDP y TCP y los puertos UDP {ports} hacia {local}: ningún servidor TURN responde a este navegador en {host}."},
	"only_https":     {Fault, 11, "Forward UDP and TCP port {port} on the router to {local}, or let this network's firewall send to it: calls from here go through port {web} of {host} alone, by TLS.", "Redirija en el router el puerto {port} UDP y TCP hacia {local}, o permita en el cortafuegos de esta red enviar a él: las llamadas desde aquí van solo por el puerto {web} de {host}, por TLS."},
	"udp_blocked":    {Fault, 12, "Forward UDP port {port} on the router to {local}, or let this network's firewall send UDP to it: UDP does not arrive at {host}.", "Redirija en el router el puerto UDP {port} hacia {local}, o permita en el cortafuegos de esta red enviarle UDP: UDP no llega a {host}."},
	"tcp_blocked":    {Fault, 13, "Forward TCP port {port} on the router to {local}, or let this network's firewall connect to it: TCP does not arrive at {host}.", "Redirija en el router el puerto TCP {port} hacia {local}, o permita en el cortafuegos de esta red conectar con él: TCP no llega a {host}."},
	"tls_refused":    {Fault, 14, "Let TLS on port {port} of {host} pass as it is, without a proxy that opens it: the browser refuses it there, though TCP arrives.", "Deje pasar TLS en el puerto {port} de {host} tal cual, sin un proxy que lo abra: el navegador lo rechaza allí, aunque TCP llega."},
	"https_no_turn":  {Fault, 16, "Have the proxy pass TCP port {web} of {host} through to this server with its TLS, or route by ALPN stun.turn: HTTPS arrives there and TURN does not.", "Haga que el proxy pase el puerto TCP {web} de {host} a este servidor con su TLS, o encamine por ALPN stun.turn: HTTPS llega allí y TURN no."},
	"ports_open":     {OK, 0, "The UDP ports for relays ({ports}) are let through.", "Los puertos UDP para relés ({ports}) pasan."},
	"ports_closed":   {Fault, 15, "Forward UDP ports {ports} on the router to {local}: relays are made and nobody outside reaches them.", "Redirija en el router los puertos UDP {ports} hacia {local}: los relés se crean y nadie de fuera llega a ellos."},
}
