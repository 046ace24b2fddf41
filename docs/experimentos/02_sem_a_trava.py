"""Sem a trava, dois clientes ganham o mesmo atendente."""

import threading

from experimento import certo, conferir, conserto, errado, juntas, porque, titulo, ver

from atendimento.filas import Fase, Filas, Participante
from protocolo import Tipo

titulo("Duas threads, um atendente livre, nenhuma trava")
livres = ["Ana"]
pares = {}  # o atendente de cada cliente
ponto_de_troca = threading.Barrier(2).wait  # onde o sistema poderia trocar de thread: aqui, sempre troca


def chamar_sem_trava(cliente: str) -> None:
    if livres:  # 1. há alguém livre?
        ponto_de_troca()  # ...e neste instante a outra thread faz a mesma pergunta
        pares[cliente] = livres[0]  # 2. então é meu
        ponto_de_troca()
        livres.clear()  # 3. e já não está livre


juntas(lambda: chamar_sem_trava("Yuri"), lambda: chamar_sem_trava("Bia"))
ver("quem fala com quem", dict(sorted(pares.items())))
conferir(pares == {"Yuri": "Ana", "Bia": "Ana"}, "os dois com a mesma atendente")
errado("os dois acham que Ana é deles")
porque("""Perguntar e tomar são dois passos, e entre eles cabe outra thread. Na vida real a troca cai ali
uma vez em muitas; o programa passa em todos os testes e falha na apresentação. Aqui, uma barreira
faz a troca cair ali sempre.""")

conserto("os dois passos numa seção crítica")
VEZES = 500


class Surdo(Participante):
    """Alguém a quem os fatos se contam em vão: aqui só importa o que as filas decidem."""

    def entregar(self, _: object) -> None:
        pass


def disputar() -> None:
    """Um atendente livre, e dois clientes que saem da mesma barreira."""
    filas, ana, yuri, bia = Filas(), Surdo(), Surdo(), Surdo()
    for quem in ana, yuri, bia:
        filas.admitir(quem)
    filas.entrar(ana, Tipo.ATENDENTE, "Ana")
    barreira = threading.Barrier(2)

    def entrar(quem: Participante, nome: str) -> None:
        barreira.wait()
        filas.entrar(quem, Tipo.CLIENTE, nome)

    juntas(lambda: entrar(yuri, "Yuri"), lambda: entrar(bia, "Bia"))
    fases = sorted(filas.user_states[cliente].fase.name for cliente in (yuri, bia))
    conferir(fases == ["CONVERSA", "FILA"], "um em conversa e o outro na fila")
    conferir(filas.user_states[ana].fase is Fase.CONVERSA, "Ana com um deles")


for _ in range(VEZES):
    disputar()
certo(f"em {VEZES} vezes, sempre um com Ana e o outro na fila")
print("\nNo projeto: atendimento/filas.py, Filas.entrar. A trava é tomada antes da pergunta, solta depois da resposta.")
