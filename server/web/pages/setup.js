import { call, offerCopy, show, submit, takeHash, translate } from './page.js';

const text = translate({
  title: ['Setup', 'Instalación'],
  heading: ['Create the administrator', 'Crear el administrador'],
  lead: ['This account manages the server and can chat like any other.', 'Esta cuenta gestiona el servidor y puede chatear como cualquier otra.'],
  displayName: ['Your name', 'Su nombre'],
  username: ['Username', 'Nombre de usuario'],
  usernameHint: ['3 to 30 letters, digits, or _ . -', 'De 3 a 30 letras sin acento, cifras, o _ . -'],
  password: ['Password', 'Contraseña'],
  passwordHint: ['8 or more characters with upper and lower case, a digit and a sign; or any 16 or more.',
    '8 o más caracteres con mayúsculas, minúsculas, una cifra y un signo; o 16 o más cualesquiera.'],
  phoneNumber: ['Phone number', 'Teléfono'],
  phoneNumberHint: ['With country code. The phone app signs in with it.', 'Con prefijo internacional. La aplicación móvil inicia sesión con él.'],
  email: ['E-mail', 'Correo electrónico'],
  optional: ['(optional)', '(opcional)'],
  create: ['Create account', 'Crear cuenta'],
  noSecret: ['This link is incomplete: open the whole link that the server printed, or make another with: quckchat setup-link',
    'Este enlace está incompleto: abra el enlace entero que mostró el servidor, o cree otro con: quckchat setup-link'],
  doneHeading: ['The server is yours', 'El servidor es suyo'],
  doneLead: ['Open your QuckChat app and sign in at this address:', 'Abra su aplicación QuckChat e inicie sesión en esta dirección:'],
  inviteLead: ['Next, invite somebody. A link is good for one person and one week.', 'Ahora, invite a alguien. Un enlace sirve para una persona y una semana.'],
  invite: ['Create an invite link', 'Crear un enlace de invitación'],
  copy: ['Copy the link', 'Copiar el enlace'],
  copied: ['Copied', 'Copiado'],
});
const part = (id) => document.getElementById(id);
const secret = takeHash();
let token = '';

if (!secret) show(part('error'), part('form'), { message: text('noSecret'), fields: [] });

submit(part('form'), part('error'), async (fields) => {
  const signedIn = await call('POST', '/setup', { ...fields, secret });
  token = signedIn.accessToken; // kept in this page only, for the invites
  part('ask').hidden = true;
  part('done').hidden = false;
  part('done').querySelector('h1').focus();
  part('address').textContent = location.origin;
});

submit(part('inviteForm'), part('inviteError'), async () => {
  const invite = await call('POST', '/invites', { uses: 1 }, token);
  part('link').textContent = invite.url || location.origin + invite.path;
  part('copy').textContent = text('copy');
  part('invite').hidden = false;
});
offerCopy(part('copy'), part('link'), text('copied'));
