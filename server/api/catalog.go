package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// entry is a code of the catalogue: its status and its sentence in each language.
type entry struct {
	status int
	en, es string
}

func known(code string) bool { return catalogue[code].status != 0 }

// Known reports whether code stands in the catalogue.
func Known(code string) bool { return known(code) }

// StatusOf is the HTTP status of a code.
func StatusOf(code string) int { return catalogue[code].status }

// sentence renders the entry; {name} stands for a parameter.
func (e entry) sentence(locale string, params map[string]any) string {
	text := e.en
	if strings.HasPrefix(strings.ToLower(locale), "es") {
		text = e.es
	}
	for name, value := range params {
		text = strings.ReplaceAll(text, "{"+name+"}", fmt.Sprint(value))
	}
	return text
}

// Sentence is what a person is told of err where no Table renders it, as on the command line.
func Sentence(err error, locale string) string {
	var e *Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := catalogue[e.Code].sentence(locale, e.Params)
	for i, f := range e.Fields {
		text += []string{": ", "; "}[min(i, 1)] + f.Field + " " + strings.Join(f.Constraints, ", ")
	}
	return text
}

// catalogue is every error a client can meet. Codes are stable; sentences may improve.
var catalogue = map[string]entry{
	"BAD_REQUEST":                {http.StatusBadRequest, "The request could not be read.", "No se pudo leer la petición."},
	"VALIDATION":                 {http.StatusBadRequest, "Request validation failed", "La petición contiene datos no válidos"},
	"BODY_TOO_LARGE":             {http.StatusRequestEntityTooLarge, "The request is too large.", "La petición es demasiado grande."},
	"BODY_TIMEOUT":               {http.StatusRequestTimeout, "The request took too long to arrive.", "La petición tardó demasiado en llegar."},
	"UNSUPPORTED_MEDIA_TYPE":     {http.StatusUnsupportedMediaType, "The body is not of a type that is taken here: JSON, or a form with files for uploads.", "El cuerpo no es de un tipo admitido aquí: JSON, o un formulario con archivos para subidas."},
	"NOT_ACCEPTABLE":             {http.StatusNotAcceptable, "Only JSON can be answered.", "Solo se puede responder con JSON."},
	"UNKNOWN_OPERATION":          {http.StatusNotFound, "There is no such operation.", "No existe esa operación."},
	"ROUTE_NOT_FOUND":            {http.StatusNotFound, "There is nothing at this address.", "No hay nada en esta dirección."},
	"METHOD_NOT_ALLOWED":         {http.StatusMethodNotAllowed, "This address does not take that method.", "Esta dirección no admite ese método."},
	"CANCELLED":                  {http.StatusServiceUnavailable, "The request was cancelled.", "La petición fue cancelada."},
	"INTERNAL":                   {http.StatusInternalServerError, "Internal error.", "Error interno."},
	"OVERLOADED":                 {http.StatusServiceUnavailable, "The server is busy. Try again in a moment.", "El servidor está ocupado. Inténtelo de nuevo en un momento."},
	"SHUTTING_DOWN":              {http.StatusServiceUnavailable, "The server is restarting. Try again in a moment.", "El servidor se está reiniciando. Inténtelo de nuevo en un momento."},
	"STORAGE_FULL":               {http.StatusInsufficientStorage, "The server's disk is full: nothing can be saved until its administrator frees space.", "El disco del servidor está lleno: no se puede guardar nada hasta que su administrador libere espacio."},
	"STORAGE_FAILED":             {http.StatusServiceUnavailable, "The server cannot write to its disk at the moment. Nothing was saved.", "El servidor no puede escribir en su disco en este momento. No se guardó nada."},
	"CONSTRAINT":                 {http.StatusConflict, "This is in conflict with something that exists already.", "Esto está en conflicto con algo que ya existe."},
	"RATE_LIMIT_EXCEEDED":        {http.StatusTooManyRequests, "Too many requests. Try again in {seconds} s.", "Demasiadas peticiones. Inténtelo de nuevo en {seconds} s."},
	"UNAUTHORIZED":               {http.StatusUnauthorized, "Sign in first.", "Inicie sesión primero."},
	"INVALID_TOKEN":              {http.StatusUnauthorized, "The access token is not valid. Sign in again.", "El token de acceso no es válido. Inicie sesión de nuevo."},
	"TOKEN_EXPIRED":              {http.StatusUnauthorized, "The access token has expired.", "El token de acceso ha caducado."},
	"INVALID_CREDENTIALS":        {http.StatusUnauthorized, "Wrong name or password.", "Nombre o contraseña incorrectos."},
	"ACCOUNT_LOCKED":             {http.StatusTooManyRequests, "Too many wrong passwords. Try again in {minutes} min.", "Demasiadas contraseñas incorrectas. Inténtelo de nuevo en {minutes} min."},
	"USER_BANNED":                {http.StatusForbidden, "This account is banned.", "Esta cuenta está suspendida."},
	"USER_DEACTIVATED":           {http.StatusForbidden, "This account is deactivated.", "Esta cuenta está desactivada."},
	"INSUFFICIENT_PERMISSIONS":   {http.StatusForbidden, "You may not do this.", "No tiene permiso para hacer esto."},
	"WRONG_PASSWORD":             {http.StatusBadRequest, "The current password is wrong.", "La contraseña actual es incorrecta."},
	"WEAK_PASSWORD":              {http.StatusBadRequest, "The password is too weak: {why}.", "La contraseña es demasiado débil: {why}."},
	"PASSWORD_SET":               {http.StatusBadRequest, "This account has a password already: change it instead.", "Esta cuenta ya tiene contraseña: cámbiela."},
	"SAME_PASSWORD":              {http.StatusBadRequest, "The new password is the old one.", "La contraseña nueva es igual a la anterior."},
	"REGISTRATION_CLOSED":        {http.StatusForbidden, "This server does not take new accounts.", "Este servidor no admite cuentas nuevas."},
	"INVITE_REQUIRED":            {http.StatusForbidden, "You need an invite to register here.", "Necesita una invitación para registrarse aquí."},
	"INVITE_INVALID":             {http.StatusForbidden, "This invite is not valid, has expired, or has been used.", "Esta invitación no es válida, ha caducado o ya se ha usado."},
	"INVITE_NOT_FOUND":           {http.StatusNotFound, "There is no such invite.", "No existe esa invitación."},
	"SETUP_INVALID":              {http.StatusForbidden, "This setup link is not valid, has expired, or has been used. Make another with: quckchat setup-link", "Este enlace de instalación no es válido, ha caducado o ya se ha usado. Cree otro con: quckchat setup-link"},
	"SETUP_INSECURE":             {http.StatusForbidden, "Setup over plain HTTP is refused from public addresses: use HTTPS, a tunnel to localhost, or: quckchat user add --admin", "La instalación por HTTP sin cifrar se rechaza desde direcciones públicas: use HTTPS, un túnel a localhost, o: quckchat user add --admin"},
	"PHONE_TAKEN":                {http.StatusConflict, "This phone number is already registered.", "Este número de teléfono ya está registrado."},
	"USERNAME_TAKEN":             {http.StatusConflict, "This username is taken.", "Este nombre de usuario ya está en uso."},
	"EMAIL_TAKEN":                {http.StatusConflict, "This e-mail address is already registered.", "Esta dirección de correo ya está registrada."},
	"USER_NOT_FOUND":             {http.StatusNotFound, "User not found.", "Usuario no encontrado."},
	"BLOCKS_FULL":                {http.StatusBadRequest, "You can block at most {max} people.", "Puede bloquear como máximo a {max} personas."},
	"CONTACTS_FULL":              {http.StatusBadRequest, "You can have at most {max} contacts.", "Puede tener como máximo {max} contactos."},
	"CONTACT_NOT_FOUND":          {http.StatusNotFound, "Contact not found.", "Contacto no encontrado."},
	"DEVICE_NOT_FOUND":           {http.StatusNotFound, "Device not found.", "Dispositivo no encontrado."},
	"SESSION_NOT_FOUND":          {http.StatusNotFound, "Session not found.", "Sesión no encontrada."},
	"CONVERSATION_NOT_FOUND":     {http.StatusNotFound, "Conversation not found.", "Conversación no encontrada."},
	"MESSAGE_NOT_FOUND":          {http.StatusNotFound, "Message not found.", "Mensaje no encontrado."},
	"SELF_CONVERSATION":          {http.StatusBadRequest, "You cannot start a conversation with yourself.", "No puede iniciar una conversación consigo mismo."},
	"BLOCKED":                    {http.StatusForbidden, "You cannot write to this person.", "No puede escribir a esta persona."},
	"CONVERSATION_LOCKED":        {http.StatusForbidden, "This conversation is locked.", "Esta conversación está bloqueada."},
	"NOT_ADMIN":                  {http.StatusForbidden, "Only an admin of this group may do this.", "Solo un administrador de este grupo puede hacer esto."},
	"NOT_GROUP":                  {http.StatusForbidden, "This is only possible in a group.", "Esto solo es posible en un grupo."},
	"GROUP_FULL":                 {http.StatusBadRequest, "A group has at most {max} people.", "Un grupo tiene como máximo {max} personas."},
	"ADMINS_FULL":                {http.StatusBadRequest, "A group has at most {max} admins.", "Un grupo tiene como máximo {max} administradores."},
	"MESSAGE_EMPTY":              {http.StatusBadRequest, "The message is empty.", "El mensaje está vacío."},
	"MESSAGE_TOO_LONG":           {http.StatusBadRequest, "A message has at most {max} characters.", "Un mensaje tiene como máximo {max} caracteres."},
	"MESSAGE_NOT_EDITABLE":       {http.StatusForbidden, "This message can no longer be edited.", "Este mensaje ya no se puede editar."},
	"MESSAGE_NOT_FORWARDABLE":    {http.StatusForbidden, "This message cannot be forwarded.", "Este mensaje no se puede reenviar."},
	"MESSAGE_NOT_DELETABLE":      {http.StatusForbidden, "Only its sender may delete this message.", "Solo su remitente puede eliminar este mensaje."},
	"MESSAGE_TOO_OLD":            {http.StatusForbidden, "This message can no longer be deleted for everyone.", "Este mensaje ya no se puede eliminar para todos."},
	"CLIENT_ID_REUSED":           {http.StatusConflict, "This clientId was used for another message.", "Este clientId se usó para otro mensaje."},
	"ATTACHMENT_MISSING":         {http.StatusBadRequest, "A message of this type needs an attachment.", "Un mensaje de este tipo necesita un archivo adjunto."},
	"ATTACHMENTS_TOO_MANY":       {http.StatusBadRequest, "A message has at most {max} attachments.", "Un mensaje tiene como máximo {max} archivos adjuntos."},
	"ATTACHMENT_NOT_FOUND":       {http.StatusBadRequest, "An attachment is not one of your uploads: upload it first.", "Un archivo adjunto no es una de sus subidas: súbalo primero."},
	"ATTACHMENT_FOREIGN":         {http.StatusBadRequest, "An attachment must be an upload of this server.", "Un archivo adjunto debe ser una subida a este servidor."},
	"MEDIA_NOT_FOUND":            {http.StatusNotFound, "File not found, or its address has expired.", "Archivo no encontrado, o su dirección ha caducado."},
	"MEDIA_IN_USE":               {http.StatusConflict, "A message or a profile shows this file: it goes with that.", "Un mensaje o un perfil muestra este archivo: se elimina con él."},
	"MEDIA_PROCESSING":           {http.StatusServiceUnavailable, "This file is still being looked at. Try again in a moment.", "Este archivo aún se está examinando. Inténtelo de nuevo en un momento."},
	"MEDIA_DAMAGED":              {http.StatusGone, "This file is damaged on the server. Whoever has it can upload it again.", "Este archivo está dañado en el servidor. Quien lo tenga puede volver a subirlo."},
	"MEDIA_QUOTA":                {http.StatusInsufficientStorage, "You have used up your {max} MiB for files. Delete some first.", "Ha agotado sus {max} MiB para archivos. Elimine algunos primero."},
	"FILE_MISSING":               {http.StatusBadRequest, "No file provided.", "No se ha enviado ningún archivo."},
	"FILE_EMPTY":                 {http.StatusBadRequest, "The file is empty.", "El archivo está vacío."},
	"FILE_TOO_LARGE":             {http.StatusRequestEntityTooLarge, "The file is larger than the {max} MiB allowed here.", "El archivo supera los {max} MiB permitidos aquí."},
	"FILES_TOO_MANY":             {http.StatusBadRequest, "Send at most {max} files at a time.", "Envíe como máximo {max} archivos a la vez."},
	"INVALID_FILE_TYPE":          {http.StatusBadRequest, "The file is not of a type that is taken here.", "El archivo no es de un tipo admitido aquí."},
	"IMAGE_TOO_LARGE":            {http.StatusBadRequest, "The picture has too many pixels.", "La imagen tiene demasiados píxeles."},
	"IMAGE_DAMAGED":              {http.StatusBadRequest, "The picture is damaged.", "La imagen está dañada."},
	"STICKER_NOT_FOUND":          {http.StatusNotFound, "Sticker not found.", "Pegatina no encontrada."},
	"STICKERS_FULL":              {http.StatusBadRequest, "You can keep at most {max} stickers.", "Puede guardar como máximo {max} pegatinas."},
	"GIF_UNUSABLE":               {http.StatusBadRequest, "There is no GIF at this address that can be sent.", "En esta dirección no hay ningún GIF que se pueda enviar."},
	"GIF_UNAVAILABLE":            {http.StatusServiceUnavailable, "GIFs cannot be fetched at the moment. Try again later.", "Los GIF no se pueden obtener en este momento. Inténtelo más tarde."},
	"PACK_INVALID":               {http.StatusBadRequest, "This sticker pack cannot be taken: {why}.", "Este paquete de pegatinas no se puede admitir: {why}."},
	"MEDIA_MALFORMED":            {http.StatusBadRequest, "The recording is damaged: where it was made cannot be taken out of it.", "La grabación está dañada: no se puede eliminar de ella el lugar donde se hizo."},
	"MEDIA_UNAVAILABLE":          {http.StatusServiceUnavailable, "Files cannot be reached at the moment. Try again later.", "Los archivos no están disponibles en este momento. Inténtelo más tarde."},
	"NOT_AUDIO":                  {http.StatusBadRequest, "This message has no recording.", "Este mensaje no tiene ninguna grabación."},
	"TRANSCRIPTION_OFF":          {http.StatusNotImplemented, "Transcription is not set up on this server: its administrator can set transcription.url.", "La transcripción no está configurada en este servidor: su administrador puede definir transcription.url."},
	"TRANSCRIPTION_FAILED":       {http.StatusServiceUnavailable, "The recording could not be transcribed. Try again later.", "No se ha podido transcribir la grabación. Inténtelo más tarde."},
	"FILE_UNSCANNABLE":           {http.StatusBadRequest, "The file is too large for this server's virus scanner.", "El archivo es demasiado grande para el antivirus de este servidor."},
	"FILE_INFECTED":              {http.StatusBadRequest, "The virus scanner refuses this file.", "El antivirus rechaza este archivo."},
	"REACTIONS_FULL":             {http.StatusBadRequest, "This message takes no more reactions than {max}.", "Este mensaje no admite más de {max} reacciones."},
	"REPLY_NOT_FOUND":            {http.StatusBadRequest, "The message this replies to is not in this conversation.", "El mensaje al que responde no está en esta conversación."},
	"PINS_FULL":                  {http.StatusForbidden, "A conversation has at most {max} pinned messages.", "Una conversación tiene como máximo {max} mensajes fijados."},
	"CALL_NOT_FOUND":             {http.StatusNotFound, "Call not found.", "Llamada no encontrada."},
	"CALL_PARTICIPANT_NOT_FOUND": {http.StatusNotFound, "This person is not in the call.", "Esta persona no está en la llamada."},
	"CALL_NOBODY":                {http.StatusBadRequest, "There is nobody to call.", "No hay nadie a quien llamar."},
	"CALL_FULL":                  {http.StatusConflict, "A call has at most {max} people. Start a huddle for more.", "Una llamada tiene como máximo {max} personas. Inicie una reunión para más."},
	"CALL_GLARE":                 {http.StatusConflict, "This person is calling you: answer the call.", "Esta persona le está llamando: responda la llamada."},
	"USER_BUSY":                  {http.StatusConflict, "This person is in another call.", "Esta persona está en otra llamada."},
	"ALREADY_IN_CALL":            {http.StatusConflict, "You are in another call.", "Está en otra llamada."},
	"ANSWERED_ELSEWHERE":         {http.StatusConflict, "You have answered this call on another device.", "Ha respondido esta llamada en otro dispositivo."},
	"NOT_IN_CALL":                {http.StatusForbidden, "You are not in this call with this device.", "No está en esta llamada con este dispositivo."},
	"HUDDLE_NOT_FOUND":           {http.StatusNotFound, "Huddle not found.", "Reunión no encontrada."},
	"HUDDLE_ENDED":               {http.StatusBadRequest, "This huddle is over.", "Esta reunión ha terminado."},
	"HUDDLE_FULL":                {http.StatusConflict, "A huddle has at most {max} people.", "Una reunión tiene como máximo {max} personas."},
	"ALREADY_IN_HUDDLE":          {http.StatusConflict, "You are in another huddle.", "Está en otra reunión."},
	"NOT_IN_HUDDLE":              {http.StatusBadRequest, "You are not in this huddle with this device.", "No está en esta reunión con este dispositivo."},
	"NOT_HUDDLE_MODERATOR":       {http.StatusForbidden, "Only who began this huddle, or an admin of its group, may do this.", "Solo quien inició esta reunión, o un administrador de su grupo, puede hacer esto."},
	"SFU_OFF":                    {http.StatusNotImplemented, "This server has no room for huddles: its administrator can set sfu.listen.", "Este servidor no tiene lugar para reuniones: su administrador puede definir sfu.listen."},
	"SFU_BUSY":                   {http.StatusServiceUnavailable, "The server can carry no more at the moment without spoiling the calls there are. Try again in a moment.", "El servidor no puede admitir más en este momento sin perjudicar las llamadas en curso. Inténtelo de nuevo en un momento."},
	"SFU_GLARE":                  {http.StatusConflict, "An offer of the server is under way: answer it, then offer again.", "Hay una oferta del servidor en curso: respóndala y vuelva a ofrecer."},
	"SFU_STALE":                  {http.StatusConflict, "This answer is to no offer that is waiting.", "Esta respuesta no corresponde a ninguna oferta pendiente."},
	"SFU_TRACKS":                 {http.StatusBadRequest, "One device sends at most a microphone, a camera, a screen and its sound.", "Un dispositivo envía como máximo un micrófono, una cámara, una pantalla y su sonido."},
	"SFU_SDP":                    {http.StatusBadRequest, "This is no session description that can be used here.", "Esta no es una descripción de sesión utilizable aquí."},
	"SFU_NOT_CONNECTED":          {http.StatusConflict, "Connect to the huddle's SFU first.", "Conéctese primero al SFU de la reunión."},
	"MESH_FULL":                  {http.StatusConflict, "At most {max} people can be in this huddle with this app. Newer ones have no such limit.", "Con esta aplicación caben como máximo {max} personas en esta reunión. Las más nuevas no tienen ese límite."},
	"DOCTOR_BUSY":                {http.StatusConflict, "Calls are being examined already. Try again in a moment.", "Ya se están examinando las llamadas. Inténtelo de nuevo en un momento."},
	"DOCTOR_LINK_INVALID":        {http.StatusForbidden, "This link is not valid, has expired, or has been used. Ask for another.", "Este enlace no es válido, ha caducado o ya se ha usado. Pida otro."},
	"DOCTOR_RUN_NOT_FOUND":       {http.StatusNotFound, "This examination is over. Start another.", "Este examen ha terminado. Inicie otro."},
	"DOCTOR_OFFER_INVALID":       {http.StatusBadRequest, "The offer cannot be answered.", "La oferta no se puede responder."},
	"TURN_UNAVAILABLE":           {http.StatusConflict, "The TURN server of this chat does not run: its administrator can start it.", "El servidor TURN de este chat no funciona: su administrador puede iniciarlo."},
	"JOB_NOT_FOUND":              {http.StatusNotFound, "Job not found.", "Tarea no encontrada."},
	"TICKET_INVALID":             {http.StatusUnauthorized, "This ticket is not valid or has been used.", "Este tique no es válido o ya se ha usado."},
	"OTHER_SESSION":              {http.StatusForbidden, "This connection belongs to another session. Open a new one.", "Esta conexión pertenece a otra sesión. Abra una nueva."},
	"TOO_MANY_SOCKETS":           {http.StatusTooManyRequests, "You have too many open connections.", "Tiene demasiadas conexiones abiertas."},
}
