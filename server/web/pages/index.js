import { translate } from './page.js';

translate({
  title: ['Server', 'Servidor'],
  heading: ['A QuckChat server is running here', 'Aquí funciona un servidor QuckChat'],
  lead: ['Open your QuckChat app and sign in at this address:', 'Abra su aplicación QuckChat e inicie sesión en esta dirección:'],
  hint: ['No account yet? Ask the administrator for an invite.', '¿Aún no tiene cuenta? Pida una invitación al administrador.'],
});
document.getElementById('address').textContent = location.origin;
