"""Sem a trava, dois clientes ganham o mesmo atendente."""

import threading

from experimento import certo, conferir, errado, porque, titulo, ver

from filas import Fase, Filas, Participante
from protocolo import Tipo

titulo("Duas threads, um atendente livre, nenhuma trava")
livres = ["Ana"]
pares = {}
troca = threading.Barrier(2)  # o ponto em que o sistema poderia trocar de thread: aqui, ele sempre troca


def chamar_sem_trava(cliente: str) -> None:
    if livres:  # 1. há alguém livre?
        troca.wait()  # ...e neste instante a outra thread faz a mesma pergunta
        pares[cliente] = livres[0]  # 2. então é meu
        troca.wait()
        if "Ana" in livres:
            livres.remove("Ana")  # 3. e já não está livre


def duas_threads(alvo, *nomes: str) -> None:
    threads = [threading.Thread(target=alvo, args=(nome,)) for nome in nomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


duas_threads(chamar_sem_trava, "Yuri", "Bia")
ver("quem fala com quem", pares)
conferir(pares == {"Yuri": "Ana", "Bia": "Ana"}, "os dois com a mesma atendente")
errado("os dois acham que Ana é deles")
porque("""Perguntar e tomar são dois passos, e entre eles cabe outra thread. Na vida real a troca cai ali
uma vez em muitas; o programa passa em todos os testes e falha na apresentação. Aqui, uma barreira
faz a troca cair ali sempre.""")

titulo("O conserto: os dois passos numa seção crítica")
VEZES = 500
for _ in range(VEZES):
    filas, ana = Filas(), Participante()
    filas.admitir(ana)
    filas.entrar(ana, Tipo.ATENDENTE, "Ana")
    clientes = {nome: Participante() for nome in ("Yuri", "Bia")}
    juntos = threading.Barrier(2)

    def entrar(nome: str) -> None:
        filas.admitir(clientes[nome])
        juntos.wait()
        filas.entrar(clientes[nome], Tipo.CLIENTE, nome)

    duas_threads(entrar, *clientes)
    fases = sorted(filas.user_states[cliente].fase.name for cliente in clientes.values())
    conferir(fases == ["CONVERSA", "FILA"], "um em conversa e o outro na fila")
    conferir(filas.user_states[ana].fase is Fase.CONVERSA, "Ana com um deles")
certo(f"em {VEZES} vezes, sempre um com Ana e o outro na fila")
print("\nNo projeto: filas.py, Filas.entrar. `with self.trava` abraça a pergunta e a resposta.")
