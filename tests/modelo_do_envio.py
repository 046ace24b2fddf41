"""Um modelo do envio: as threads são geradores, e exploram-se todas as ordens em que elas podem andar.

Um ou dois falam com Yuri, Ana encerra a conversa, as posições da fila se publicam, a thread dele espera que ele feche,
o carteiro o visita; Yuri lê aos poucos, e pode morrer, emudecer ou se calar a qualquer hora. Um ator cede antes de cada
operação que outro pode notar: tomar a trava ou uma vez, enviar, ler. Soltar não precisa de um passo, porque não impede
ninguém; nem a visita do carteiro de mais de um, porque ele a faz inteira com a vez na mão. A `Conexao` e o `Carteiro`
são os de verdade, sobre um socket em que cabe um byte.
"""

import collections
import socket
import types

from atendimento.carteiro import Carteiro
from atendimento.conexao import ABERTA, CORTADA, DESPEDIDA, Conexao
from atendimento.filas import FIM_DE_FLUXO


class Defeito(Exception):
    """Uma propriedade do envio não valeu."""


def exigir(vale, frase):
    if not vale:
        raise Defeito(frase)


def sempre():
    return True


class TravaFalsa:
    """Uma `Lock` que ninguém espera: o ator cede antes, e só anda quando ela está livre. Anota o que se faz com ela."""

    def __init__(self, nome, historia):
        self.nome, self.historia, self.tomada = nome, historia, False

    def livre(self):
        return not self.tomada

    def locked(self):
        return self.tomada

    def acquire(self):
        exigir(not self.tomada, f"tomou {self.nome}, que não estava livre")
        self.tomada = True
        self.historia.append(f"{self.nome}+")

    def release(self, *_):
        self.tomada = False
        self.historia.append(f"{self.nome}-")

    __enter__, __exit__ = acquire, release


class SocketFalso:
    """Um socket que não bloqueia, com lugar para `cabem` bytes que o outro ainda não leu."""

    def __init__(self, nome, historia, cabem):
        self.nome, self.historia, self.cabem = nome, historia, cabem
        self.aceitos = b""  # tudo o que o sistema aceitou enviar
        self.lidos = 0  # desses, os bytes que o outro já leu
        self.fim = self.cortado = self.fechado = False  # deste lado
        self.calado = self.saiu = self.morto = False  # do outro: não fala mais, não lê mais, não existe mais

    def setblocking(self, *_):
        pass

    def setsockopt(self, *_):
        pass

    def send(self, dados, *_):
        exigir(not self.fechado and not self.fim, "enviou depois do fim")
        self.historia.append(f"send {self.nome}")
        if self.morto or self.cortado:
            raise BrokenPipeError
        if not self.ha_lugar():
            raise BlockingIOError
        enviados = dados[: self.cabem - len(self.aceitos) + self.lidos]
        self.aceitos += enviados
        return len(enviados)

    def recv(self, *_):
        exigir(not self.fechado, "leu de um socket fechado")
        if not self.acabou():
            raise BlockingIOError
        return b""

    def shutdown(self, como):
        exigir(not self.fechado, "despediu-se num socket fechado")
        if self.morto:
            raise OSError
        self.fim = self.fim or como == socket.SHUT_WR
        self.cortado = self.cortado or como == socket.SHUT_RDWR

    def close(self):
        exigir(not self.fechado, "fechou duas vezes")
        self.fechado = True

    def acabou(self):
        """Quem lê este socket já não espera."""
        return self.calado or self.saiu or self.morto or self.cortado

    def ha_bytes(self):
        return self.lidos < len(self.aceitos)

    def ha_lugar(self):
        return len(self.aceitos) - self.lidos < self.cabem


class ConexaoDoModelo(Conexao):
    """A conexão de verdade, que confere quando é fechada. O que se conta já são bytes."""

    def __init__(self, mundo, nome, cabem):
        super().__init__(SocketFalso(nome, mundo.historia, cabem), mundo.carteiro.cuidar_de)
        self.vez = TravaFalsa(f"vez de {nome}", mundo.historia)
        self.formato = types.SimpleNamespace(codificar=bytes)

    def fechar(self):
        exigir(self.situacao is CORTADA or self.sock.fim and not self.caixa, "fechou antes de entregar tudo")
        super().fechar()


class Pedidos(list):
    put = list.append


class CarteiroDoModelo(Carteiro):
    """O carteiro de verdade, com pedidos que se veem, e um prazo que vence quando o outro emudece."""

    def __init__(self, mundo):
        filas = types.SimpleNamespace(posicoes_mudaram=True, publicar_posicoes=lambda: [mundo.yuri])
        super().__init__(filas, 0.0, lambda conexao: None)
        self.mundo, self._pedidos = mundo, Pedidos()

    def _conferir_o_prazo(self, conexao, cuidado):
        if self.mundo.mudo:
            conexao.cortar()


class Mundo:
    """Um estado do modelo. Um ator é um gerador: cada `yield` diz quando ele pode dar o próximo passo."""

    conexao_de, carteiro_de = ConexaoDoModelo, CarteiroDoModelo

    def __init__(self, azar, falam=(), publica=False, ha_ana=False):
        self.historia: list[str] = []
        self.carteiro = self.carteiro_de(self)
        self.trava = TravaFalsa("trava", self.historia)
        self.yuri = self.conexao_de(self, "Yuri", 1)
        self.ana = self.conexao_de(self, "Ana", 100) if ha_ana else self.yuri
        self.fatos: list[bytes | None] = []  # o que se contou a Yuri, na ordem em que a trava foi tomada
        self.mudo = False  # Yuri parou de ler, e o prazo venceu
        podem_comecar = [self.falar(linha) for linha in falam] + [self.encerrar(), getattr(self, azar)()]
        podem_comecar += [self.publicar()] if publica else []
        self.atores = [*podem_comecar, self.thread_de_yuri(), self.cumprir_pedidos(), self.rondar(), self.ler()]
        self.nao_comecaram = set(range(len(podem_comecar)))  # e talvez não comecem nunca
        self.proximos = [next(ator) for ator in self.atores]

    # Os atores.

    def fato(self, que_contar):
        """As mãos dadas: a vez de quem vai receber se toma ainda com a trava na mão."""
        yield self.trava.livre
        self.trava.acquire()
        contar = que_contar()
        self.fatos += [comando for destino, *comandos in contar if destino is self.yuri for comando in comandos]
        for destino, *_ in contar:
            yield destino.vez.livre
            destino.vez.acquire()
        self.trava.release()
        for destino, *comandos in contar:
            yield sempre
            destino.entregar(comandos)
        for destino, *_ in reversed(contar):
            destino.vez.release()

    def falar(self, linha):
        """Quem fala espera, sem nada na mão, que Yuri tenha onde receber."""
        yield from self.fato(lambda: [(self.yuri, linha)])
        while self.yuri.caixa:
            yield lambda: not self.yuri.caixa or self.yuri.vez.livre() and self.nao_espera_para_enviar()
            if self.yuri.caixa:
                with self.yuri.vez:
                    self.yuri.escoar()

    def nao_espera_para_enviar(self):
        return self.yuri.sock.ha_lugar() or self.yuri.sock.morto or self.yuri.sock.cortado

    def a_ana(self):
        return [(self.ana, b"F")] if self.ana is not self.yuri else []

    def encerrar(self):
        yield from self.fato(lambda: [(self.yuri, b"FG", FIM_DE_FLUXO), *self.a_ana()])

    def thread_de_yuri(self):
        """Lê até o fim, sai das filas e deixa a conexão com o carteiro."""
        yield self.yuri.sock.acabou
        self.yuri.sock.recv()
        yield from self.fato(lambda: self.a_ana() + [(self.yuri, FIM_DE_FLUXO)][FIM_DE_FLUXO in self.fatos :])
        self.carteiro.enterrar(self.yuri)

    def publicar(self):
        """As posições da fila: postas na caixa com a trava na mão, e enviadas depois, pelo carteiro."""
        yield self.trava.livre
        self.trava.acquire()
        self.fatos.append(b"pq")
        yield self.yuri.vez.livre
        with self.yuri.vez:
            self.yuri.por_na_caixa((b"pq",))
        self.trava.release()
        yield self.yuri.vez.livre
        self.carteiro._publicar()

    def cumprir_pedidos(self):
        while True:
            yield lambda: self.carteiro._pedidos and self.yuri.vez.livre()
            tarefa, *com = self.carteiro._pedidos.pop(0)
            tarefa(*com)

    def rondar(self):
        while True:
            yield lambda: self.carteiro._cuidados and self.yuri.vez.livre()
            for conexao in list(self.carteiro._cuidados):
                self.carteiro._visitar(conexao)

    def ler(self):
        """Yuri lê byte a byte e, depois do fim, fecha."""
        sock = self.yuri.sock
        while not sock.saiu:
            yield lambda: not (self.mudo or sock.morto) and (sock.ha_bytes() or sock.fim)
            if sock.ha_bytes():
                sock.lidos += 1
            else:
                sock.saiu = True

    def morrer(self):
        yield sempre
        self.yuri.sock.morto = True

    def emudecer(self):
        yield sempre
        self.mudo = True

    def calar_se(self):
        """Yuri fecha a sua metade, e continua lendo."""
        yield sempre
        self.yuri.sock.calado = True

    # Um passo, e o que tem de valer depois dele.

    def podem(self):
        """Os atores que podem dar o próximo passo."""
        return [i for i, pode in enumerate(self.proximos) if pode is not None and pode()]

    def dar_um_passo(self, i):
        self.nao_comecaram.discard(i)
        self.proximos[i] = next(self.atores[i], None)

    def devidos(self):
        """O que Yuri tem de ler: os fatos, na ordem, até o fim de fluxo."""
        ate = self.fatos.index(FIM_DE_FLUXO) if FIM_DE_FLUXO in self.fatos else None
        return b"".join(self.fatos[:ate])

    def conferir(self):
        exigir(self.devidos().startswith(self.yuri.sock.aceitos), "saiu o que não devia, ou fora de ordem")
        exigir(self.yuri.enviados == len(self.yuri.sock.aceitos), "não sabe quanto enviou")
        exigir(not self.yuri.caixa or self.yuri.situacao in (ABERTA, DESPEDIDA), "guarda o que ninguém vai enviar")

    def acabou_bem(self):
        """Nenhum dos que começaram tem o que fazer, nem espera; Yuri leu tudo o que lhe contaram, se quis ler."""
        sock = self.yuri.sock
        leu = self.mudo or sock.morto or sock.lidos == len(self.devidos())
        fechou = sock.fechado or self.yuri.situacao is ABERTA and not sock.acabou()
        tomadas = self.trava.tomada or self.yuri.vez.tomada or self.ana.vez.tomada
        return leu and fechou and not (tomadas or self.yuri.caixa) and self.nao_comecaram.issuperset(self.podem())

    def foto(self):
        """Dois estados de igual foto têm o mesmo futuro."""
        sock, yuri = self.yuri.sock, self.yuri
        return (
            *map(onde_parou, self.atores),
            *(self.trava.tomada, yuri.vez.tomada, self.ana.vez.tomada, self.mudo, tuple(self.fatos)),
            *(self.ana.enviados, yuri.situacao, yuri.caixa, yuri.enviados, sock.lidos),
            *(sock.fim, sock.cortado, sock.fechado, sock.calado, sock.saiu, sock.morto),
            *(tarefa.__name__ for tarefa, *_ in self.carteiro._pedidos),
            *(cuidado.orfa for cuidado in self.carteiro._cuidados.values()),
        )


def onde_parou(ator):
    lugar = []
    while ator is not None and ator.gi_frame is not None:
        lugar.append(ator.gi_frame.f_lasti)
        ator = ator.gi_yieldfrom
    return tuple(lugar)


AZARES = "emudecer", "morrer", "calar_se"
PEQUENOS = [(azar, {"ha_ana": True}) for azar in AZARES]
PEQUENOS += [(azar, o_que) for azar in AZARES for o_que in ({"publica": True}, {"falam": (b"ab",)})]
GRANDES = [(azar, {"falam": (b"a", b"b")}) for azar in AZARES]


def explorar(criar):
    """Anda por todas as ordens, das mais curtas às mais longas; devolve quantos estados há.

    Levanta `Defeito` se num passo uma propriedade não vale, ou se de um estado não se chega a um bom fim sem que mais
    alguém comece: lá, uma linha ficou na caixa, ou há quem espere para sempre.
    """

    def depois_de(caminho):
        mundo = criar()
        for i in caminho:
            mundo.dar_um_passo(i)
        return mundo

    inicio = criar()
    caminhos, bons = {inicio.foto(): ()}, [inicio.foto()]
    faltam = collections.deque([(inicio, inicio.foto())])
    vieram_de = collections.defaultdict(list)
    while faltam:
        mundo, antes = faltam.popleft()
        podem, nao_comecaram = mundo.podem(), set(mundo.nao_comecaram)
        for i in podem:
            depois = mundo if i == podem[-1] else depois_de(caminhos[antes])
            depois.dar_um_passo(i)
            depois.conferir()
            foto = depois.foto()
            if i not in nao_comecaram:
                vieram_de[foto].append(antes)
            if foto not in caminhos:
                caminhos[foto] = (*caminhos[antes], i)
                faltam.append((depois, foto))
                if depois.acabou_bem():
                    bons.append(foto)
            else:
                vars(depois).clear()  # desfaz os ciclos: sem isto, procurá-los levaria metade do tempo
    com_saida = set(bons)
    while bons:
        novos = set(vieram_de[bons.pop()]) - com_saida
        com_saida |= novos
        bons += novos
    for foto, caminho in reversed(caminhos.items()):
        exigir(foto in com_saida, f"uma linha ficou, ou há quem espere para sempre, depois de {caminho}")
    return len(caminhos)
