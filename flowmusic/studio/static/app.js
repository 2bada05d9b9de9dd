const session = await (await fetch("api/session")).json();
document.getElementById("state").textContent = `Session ${session.name}, revision ${session.revision}.`;
