"""As filas sem rede: em todas as ordens de um cenário pequeno, fazem o que o modelo manda.

Um explorador experimenta, em cada situação alcançável de um punhado de pessoas, cada fato possível. As histórias são
infinitas, mas as situações não: duas histórias que levam à mesma têm o mesmo futuro, e basta seguir a mais curta.
Depois de cada fato, o que cada um recebeu e o que há nas listas é o que o modelo diz, e as mãos se deram na ordem.
"""

import ast
import inspect
import logging
import pickle
import sys
import types
from collections import deque
from unittest.mock import Mock

import pytest
from modelo import FECHOU, Modelo, Ouvinte
from test_protocolo import casos

import atendimento.filas as modulo
from atendimento.filas import FIM_DE_FLUXO, Fase, Filas, Participante
from protocolo import Consulta, Fim, Mensagem, Pausa, Pergunta, Pronto, Texto, Tipo, Transferencia, Volta

CLIENTE, ATENDENTE = Tipo.CLIENTE, Tipo.ATENDENTE
TEXTO = Texto()

# --- As filas de verdade, com participantes e travas de memória ----------------------------------


class Vez:
    """Uma trava que se copia: há uma thread só, e ela não prende ninguém. Confere a ordem em que é tomada e solta."""

    def __init__(self, mundo):
        self.mundo, self.tomada = mundo, False

    def acquire(self):
        assert self.mundo.trava.tomada, "mãos: a vez foi tomada sem a trava"
        assert not self.tomada, "mãos: a vez foi tomada duas vezes"
        self.tomada = True

    def release(self):
        assert self.tomada, "mãos: soltou o que não tinha"
        self.tomada = False

    def locked(self):
        return self.tomada

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_):
        self.release()


class Trava(Vez):
    """A das filas: cada fato a toma uma vez, e com ela solta as filas não mudam."""

    def acquire(self):
        assert not self.tomada and not self.mundo.tomadas, "mãos: o fato tomou a trava duas vezes"
        assert self.mundo.retrato() == self.mundo.visto, "mãos: as filas mudaram sem a trava"
        self.tomada = True
        self.mundo.tomadas += 1

    def release(self):
        super().release()
        self.mundo.visto = self.mundo.retrato()


class DeMemoria(Participante, Vez):
    """Um participante que guarda, como linhas, o que lhe contam; e a sua própria vez, que assim se copia depressa."""

    def __init__(self, mundo, chave):
        Participante.__init__(self)
        Vez.__init__(self, mundo)
        self.chave, self.vez = chave, self
        self.lidas = []
        self.falta_enviar = False
        self.acabou = False

    def por_na_caixa(self, comandos):
        assert self.vez.tomada, "mãos: pôs na caixa sem a vez"
        for comando in comandos:
            assert not self.acabou, f"fim: contou algo a {self.chave} depois do fim de fluxo"
            self.acabou = comando is FIM_DE_FLUXO
            self.lidas += [FECHOU] if self.acabou else TEXTO.codificar(comando).decode().split("\n")[:-1]
        self.falta_enviar = True

    def entregar(self, comandos):
        assert not self.mundo.trava.tomada, "mãos: enviou com a trava"
        self.por_na_caixa(comandos)
        self.falta_enviar = False


class Mundo:
    """As filas e o modelo, lado a lado: cada fato acontece nos dois, e tem de dar no mesmo."""

    def __init__(
        self, elenco, dizem_pronto=(), calados=(), sem_pausa=(), guarda=20, registrar=False, tipo=Filas, **opcoes
    ):
        self.elenco = elenco  # {nome: (tipo, departamentos)}
        # Nomes: o que se explora de cada um. Os calados só consultam, encerram e saem.
        self.dizem_pronto, self.calados, self.sem_pausa = dizem_pronto, calados, sem_pausa
        self.tomadas = 0  # quantas vezes o fato tomou a trava
        self.trava = Trava(self)
        self.ouvinte = Ouvinte(self.trava) if registrar else None
        self.modelo = Modelo(**opcoes, registrar=registrar)
        self.filas = tipo(**opcoes, ouvinte=self.ouvinte, relogio=self.relogio, trava=self.trava)
        if guarda != 20:  # para que o limite entre na exploração
            self.modelo.MAXIMO_GUARDADO = self.filas.MAXIMO_GUARDADO = guarda
        self.gente = {nome: DeMemoria(self, nome) for nome in elenco}
        self.de_fora = [*elenco]  # quem ainda não chegou
        self.visto = self.retrato()  # quando a trava foi solta pela última vez

    def relogio(self):
        return self.modelo.agora

    def acontece(self, fato, *args):
        """Um fato: quem lê o quê, o que há nas listas, o que se ouve e o que se devolve são os do modelo."""
        self.tomadas = 0
        if fato == "admitir":
            self.de_fora.remove(*args)
        lidas, ouvido = self.modelo.acontece(fato, *args)
        alvos = [self.gente[args[0]], *args[1:]] if args else []
        devolvido = getattr(self.filas, fato)(*alvos)
        assert self.tomadas == 1 and not self.trava.tomada, "mãos: a trava não foi tomada, ou ficou tomada"
        receberam, falta_enviar = {}, set()
        for nome, quem in self.gente.items():
            assert not quem.vez.tomada, "mãos: a vez ficou tomada"
            if quem.lidas:
                receberam[nome], quem.lidas = quem.lidas, []
                if quem.falta_enviar:
                    falta_enviar.add(nome)
        assert receberam == lidas, f"linhas: leem {receberam}, e o modelo manda {lidas}"
        assert self.visto == self.modelo.retrato(), f"listas: {self.visto}, e o modelo diz {self.modelo.retrato()}"
        if fato == "repassar_chat":
            assert {*lidas} <= {devolvido and devolvido.chave}, f"devolve: {devolvido}"
        else:
            assert {quem.chave for quem in devolvido or ()} == falta_enviar, "devolve: ninguém envia o que há na caixa"
        mudaram, faltam = self.filas.posicoes_mudaram, bool(self.modelo.desatualizados())
        assert mudaram or not faltam, "posições: ninguém vai publicá-las"
        assert not mudaram or fato != "publicar_posicoes", "posições: publicadas, ainda constam como mudadas"
        self.filas.posicoes_mudaram = faltam  # publicar à toa não faz mal, mas esconderia quem depois não avisasse
        if self.ouvinte:
            ouviu, self.ouvinte.ouvido = self.ouvinte.ouvido, []
            assert ouviu == ouvido, f"ouvinte: ouve {ouviu}, e o modelo manda {ouvido}"

    def chega(self, nome):
        self.acontece("admitir", nome)
        self.acontece("entrar", nome, self.elenco[nome][0], nome, self.elenco[nome][1])

    def retrato(self):
        """O das filas, na forma em que o modelo dá o seu."""
        filas, estados = self.filas, []
        for quem, estado in filas.user_states.items():
            assert quem.nome in ("", quem.chave), "listas: o nome de outro"
            posicao = estado.posicao if estado.fase is Fase.FILA and quem.tipo is CLIENTE else 0
            guardadas = tuple(guardada.decode() for guardada in estado.guardadas)
            par = estado.par and estado.par.chave
            quem_transferiu = estado.transferido_por in filas.user_states and estado.transferido_por.chave
            na_frente = estado.na_frente and estado.fase is Fase.FILA
            estados.append((quem.chave, estado.fase, par, quem.departamentos, guardadas, posicao, estado.diz_pronto))
            estados[-1] += na_frente, quem_transferiu
        clientes, atendentes = ([quem.chave for quem in fila] for fila in (filas.fila_clientes, filas.fila_atendentes))
        online = frozenset(quem.chave for quem in filas.online)
        return tuple(clientes), tuple(atendentes), online, tuple(sorted(estados)), filas.encerrada

    def fatos_possiveis(self):
        """Os que podem acontecer agora, e os tardios: de quem já saiu, tudo, diante de um que ficou."""
        dentro = self.modelo.gente
        sairam = [nome for nome in self.elenco if nome not in dentro and nome not in self.de_fora and len(dentro) < 2]
        entrando = [nome for nome, quem in dentro.items() if quem.fase is Fase.IDENTIFICACAO]
        yield from (("publicar_posicoes",), ("desligar",))
        yield from (("responder", nome, Pergunta("nome")) for nome in [*dentro, *sairam][:1])
        if not entrando:  # quem se identifica não muda nada para os outros, que por isso esperam
            # Dos que só diferem no nome basta que chegue o primeiro; dos que saíram, basta um.
            primeiros = {self.elenco[nome]: nome for nome in reversed(self.de_fora)}
            yield from (("admitir", nome) for nome in primeiros.values())
        for nome in entrando or [*dentro, *sairam[:1]]:
            tipo, onde = self.elenco[nome]
            yield "sair", nome
            if nome not in dentro or entrando:
                yield "entrar", nome, tipo, nome, onde
                yield "recusar", nome, Fim("Não.")
            if not entrando:
                guardadas = len(dentro[nome].guardadas) if nome in dentro else 0
                transfere = nome in dentro and dentro[nome].par and tipo is ATENDENTE
                destinos = self.filas.departamentos if transfere else ("X",)
                pedidos = [Fim(), Consulta()]
                if nome not in self.calados:
                    yield "repassar_chat", nome, Mensagem(nome, (f"{guardadas}", f"{guardadas + 1}"))
                    pedidos += map(Transferencia, destinos)
                    pedidos += () if nome in self.sem_pausa else (Pausa(), Volta())
                if nome in self.dizem_pronto:
                    pedidos.append(Pronto())
                yield from (("atender", nome, pedido) for pedido in pedidos)

    def situacao(self):
        """O que decide o futuro. O turno fica de fora: só muda o texto da estimativa."""
        return self.visto, tuple(self.de_fora)


def acontecer(mundo, historia, fato):
    try:
        mundo.acontece(*fato)
    except Exception as erro:  # o das próprias filas também
        raise AssertionError(f"{erro}\nHistória: {*historia, fato}") from erro


def explorar(mundo, historia=()):
    """Experimenta, depois da `historia`, todos os fatos em todas as situações, em largura.

    Devolve quantas são e quantos fatos houve.
    """
    for lugar, fato in enumerate(historia):
        acontecer(mundo, historia[:lugar], fato)
    vistas, fatos = {mundo.situacao()}, 0
    faltam = deque([(pickle.dumps(mundo), historia)])  # (mundo, a história que leva a ele)
    while faltam:
        foto, historia = faltam.popleft()
        mundo = pickle.loads(foto)
        situacao = mundo.situacao()
        for fato in list(mundo.fatos_possiveis()):
            mundo = mundo or pickle.loads(foto)
            acontecer(mundo, historia, fato)
            fatos += 1
            nova = mundo.situacao()
            if nova == situacao:
                continue  # o mesmo mundo serve para o fato seguinte
            if nova not in vistas:
                vistas.add(nova)
                faltam.append((pickle.dumps(mundo), (*historia, fato)))
            vars(mundo).clear()  # desfaz os ciclos: sem isto, procurá-los levaria um terço do tempo
            mundo = None
    return len(vistas), fatos


def elenco(clientes, atendentes):
    """Sem departamentos, os de mesmo tipo só diferem no nome."""
    tipos = ("C", CLIENTE, clientes), ("A", ATENDENTE, atendentes)
    return {f"{letra}{numero}": (tipo, ("",)) for letra, tipo, quantos in tipos for numero in range(quantos)}


def chegam(mundo, *nomes):
    """Os fatos com que eles chegam, um depois do outro."""
    quem = [(nome, *mundo["elenco"][nome]) for nome in nomes]
    return [fato for nome, tipo, onde in quem for fato in (("admitir", nome), ("entrar", nome, tipo, nome, onde))]


SEM_NADA = {"elenco": elenco(3, 2), "calados": ("C2",), "guarda": 1}
DE_DOIS = {"C0": (CLIENTE, ("V",)), "C1": (CLIENTE, ("S",)), "A0": (ATENDENTE, ("V",)), "A1": (ATENDENTE, ("V", "S"))}
TODAS_AS_OPCOES = {"departamentos": ("V", "S"), "devolver": True, "registrar": True}
COM_TUDO = {"elenco": DE_DOIS, "dizem_pronto": ("C0", "A0"), "calados": ("C0", "C1"), "guarda": 1, **TODAS_AS_OPCOES}
SO_UM_CLIENTE = COM_TUDO | {"elenco": {nome: DE_DOIS[nome] for nome in ("C0", "A0", "A1")}}
# As explorações que acham os defeitos plantados: um mundo, e a história depois da qual tudo se experimenta.
SO_A0_FAZ_PAUSA = {"sem_pausa": ("A1",)}
DOIS_ESPERAM = SEM_NADA | SO_A0_FAZ_PAUSA, (*chegam(SEM_NADA, "C0", "C1"),)
COM_PRONTO = (
    COM_TUDO | SO_A0_FAZ_PAUSA,
    (*chegam(COM_TUDO, "A0", "A1"), ("atender", "A0", Pronto()), *chegam(COM_TUDO, "C1")),
)


@casos(
    "mundo, historia, minimo",
    {"dois-esperam": (*DOIS_ESPERAM, 550), "um-so": (SO_UM_CLIENTE, (), 250), "com-pronto": (*COM_PRONTO, 450)},
)
def test_todas_as_ordens(mundo, historia, minimo):
    """Em todas as ordens de chegadas, falas, pedidos, quedas e publicações, as filas fazem o que o modelo manda."""
    situacoes, fatos = explorar(Mundo(**mundo), historia)
    assert situacoes > minimo and fatos > 13 * situacoes


@pytest.mark.demorado
@casos("mundo, minimo", {"sem-extensoes": (SEM_NADA, 1000), "com-tudo": (COM_TUDO, 2500)})
def test_todas_as_ordens_do_comeco(mundo, minimo):
    """O mesmo com todos, antes que alguém chegue."""
    situacoes, fatos = explorar(Mundo(**mundo))
    assert situacoes > minimo and fatos > 14 * situacoes


# --- O que é grande demais para a exploração, e o que o modelo não diz ---------------------------


def test_a_consulta_nomeia_dez_clientes():
    """O atendente lê até dez nomes, e reticências se esperam mais."""
    mundo = Mundo(elenco(12, 1))
    mundo.chega("A0")
    mundo.acontece("atender", "A0", Pausa())
    for numero in range(12):
        mundo.chega(f"C{numero}")
        mundo.acontece("atender", "A0", Consulta())


def test_as_filas_contam_o_turno():
    """Esperas, durações e desistências vão para a conta do departamento, medidas pelo relógio das filas."""
    mundo = Mundo(**COM_TUDO)
    mundo.chega("C0")
    mundo.modelo.agora += 45
    mundo.chega("A0")
    mundo.modelo.agora += 100
    mundo.acontece("atender", "A0", Transferencia("S"))
    mundo.chega("A1")
    mundo.chega("C1")
    mundo.modelo.agora += 61
    mundo.acontece("sair", "A1")
    mundo.acontece("atender", "C1", Fim())
    assert mundo.filas.turno.resumo() == [
        "V: 1 atendimento, 0 desistências na fila; espera média 45 s, máxima 45 s; duração média 1 min 40 s.",
        "S: 1 atendimento, 1 desistência na fila; espera média 0 s, máxima 0 s; duração média 1 min 01 s.",
    ]


def test_o_que_vai_para_o_log(caplog, monkeypatch):
    """Cada mudança tem a sua marca, e só se escreve no log sem nada na mão."""
    caplog.set_level(logging.INFO, "fila")
    mundo, outro = Mundo(**COM_TUDO), Mundo(elenco(2, 1))
    maos = [mundo.trava, *(quem.vez for quem in mundo.gente.values())]
    monkeypatch.setattr(modulo.log, "filters", [lambda _: not any(trava.tomada for trava in maos)])
    mundo.acontece("admitir", "A0")
    mundo.acontece("sair", "A0")  # sem se identificar: as filas não têm o que dizer dele
    mundo.chega("A1")
    mundo.chega("C0")
    for pedido in Transferencia("S"), Pausa(), Fim(), Volta():
        mundo.acontece("atender", "A1", pedido)
    mundo.chega("C1")
    mundo.acontece("sair", "A1")
    mundo.acontece("atender", "C1", Fim())
    outro.chega("A0")
    outro.chega("C0")
    outro.acontece("sair", "C0")
    outro.acontece("atender", "A0", Pronto())
    outro.chega("C1")
    outro.acontece("sair", "C1")
    outro.acontece("atender", "A0", Pronto())  # só agora volta
    assert [(linha.marca, linha.getMessage()) for linha in caplog.records] == [
        ("MATCHMAKER", "Par formado: C0 (CLIENTE) com A1 (ATENDENTE) em V."),
        ("RE-QUEUE", "C0 (CLIENTE) transferido para S por A1 (ATENDENTE)."),
        ("MATCHMAKER", "Par formado: C0 (CLIENTE) com A1 (ATENDENTE) em S."),
        ("DISCONNECT", "C0 (CLIENTE) será desconectado: a conversa acabou."),
        ("PAUSA", "A1 (ATENDENTE) está em pausa."),
        ("RE-QUEUE", "A1 (ATENDENTE) voltou da pausa."),
        ("MATCHMAKER", "Par formado: C1 (CLIENTE) com A1 (ATENDENTE) em S."),
        ("DISCONNECT", "A1 (ATENDENTE) desconectou."),
        ("RE-QUEUE", "C1 (CLIENTE) de volta à fila: o atendente caiu."),
        ("DISCONNECT", "C1 (CLIENTE) saiu da fila."),
        ("MATCHMAKER", "Par formado: C0 (CLIENTE) com A0 (ATENDENTE)."),
        ("DISCONNECT", "C0 (CLIENTE) desconectou."),
        ("RE-QUEUE", "A0 (ATENDENTE) de volta à fila."),
        ("MATCHMAKER", "Par formado: C1 (CLIENTE) com A0 (ATENDENTE)."),
        ("DISCONNECT", "C1 (CLIENTE) desconectou."),
        ("RE-QUEUE", "A0 (ATENDENTE) de volta à fila."),
    ]


def test_um_envio_que_falha_nao_prende_ninguem(monkeypatch):
    """O erro chega a quem causou o fato, os outros envios se fazem, e nem a trava nem as vezes ficam tomadas."""
    monkeypatch.setattr(Participante, "entregar", entregar := Mock(side_effect=MemoryError))
    filas, quem, outra = Filas(), Participante(), Participante()
    for um in quem, outra:
        filas.admitir(um)
    with pytest.raises(MemoryError):
        filas.entrar(quem, CLIENTE, "Caio")
    with pytest.raises(MemoryError):
        filas.repassar_chat(quem, Mensagem("Caio", ["oi"]))
    entregar.reset_mock()
    with pytest.raises(MemoryError):
        filas.entrar(outra, ATENDENTE, "Ana")
    assert entregar.call_count == 2
    assert not filas.trava.locked() and not quem.vez.locked() and not outra.vez.locked()


# --- Erros plantados: o explorador os acha? ------------------------------------------------------

# De filas.py, como `ast.unparse` o escreve, a parte que depende de `Filas`. Um defeito troca nela um trecho por outro.
FONTE = "class Filas:" + ast.unparse(ast.parse(inspect.getsource(modulo))).partition("class Filas:")[2]
SEM_EXTENSOES = {
    "o-ultimo-cliente-primeiro": ("insert(lugar, quem)", "insert(0, quem)"),
    "o-atendente-volta-na-frente": ("self.fila_atendentes.append(quem)", "self.fila_atendentes.insert(0, quem)"),
    "o-cliente-duas-vezes-na-fila": ("insert(lugar, quem)", "insert(lugar, quem); self.fila_clientes.append(quem)"),
    "quem-sai-fica-na-fila": ("(quem).fase is Fase.FILA:", "(quem) is None:"),
    "quem-sai-nao-solta-o-par": ("if estado.par is not None:", "if False:"),
    "so-forma-par-com-um-na-fila": ("if par is None:", "if par is None or self.fila_clientes[1:]:"),
    "esquece-as-guardadas": ("for guardada in do_cliente.guardadas]", "for guardada in ()]"),
    "entrega-duas-vezes-as-guardadas": ("do_cliente.guardadas = []", "pass"),
    "repete-as-mensagens": ("(mensagem,)", "(mensagem, mensagem)"),
    "esquece-as-posicoes": ("if estado.posicao != posicao:", "if False:"),
    "so-o-primeiro-faz-avancar": ("del self.fila_clientes[lugar]", "del self.fila_clientes[lugar]; lugar *= 99"),
    "esquece-a-entrega": ("return novidades", "return []"),
    "escreve-a-quem-saiu": ("(quem, FIM_DE_FLUXO)", "(quem, FIM_DE_FLUXO), fato.contar(quem, ENCERRADO)"),
    "fila-antes-do-conectado": ("(fato)\n        for quem", "(fato); fato.contar(quem, Fila(None))\n        for quem"),
    "conta-sem-a-trava": ("self._filas.trava.acquire()", "pass"),
    "a-vez-sem-a-trava": ("destino.vez.acquire()\n        try", "pass\n        destino.vez.acquire()\n        try"),
    "envia-com-a-trava": ("self._filas.trava.release()", "self._maos.callback(self._filas.trava.release)"),
    "poe-na-caixa-sem-a-vez": ("with cliente.vez:", "if True:"),
    "muda-depois-de-soltar": ("return novidades", "self.online.clear()\n        return novidades"),
}
VOLTA, SEM_PAR = "voltou da pausa.')\n        self._enfileirar(fato, atendente)", "return [SEM_CLIENTE]"
SO_COM_EXTENSOES = {
    "qualquer-atendente-serve": ("departamento in atendente.departamentos and", ""),
    "so-olha-o-primeiro-da-fila": ("sem_atendente.add(departamento)", "return None"),
    "o-atendente-mais-novo": ("for atendente in self.fila_atendentes:", "for atendente in self.fila_atendentes[::-1]:"),
    "o-transferido-vai-para-o-fim": ("(fato, cliente, atendente, na_frente=True)", "(fato, cliente, atendente)"),
    "o-transferido-fica-onde-estava": ("cliente.departamentos = (departamento,)", "pass"),
    "nao-avisa-de-quem-passou-a-frente": ("True\n                self.fila", "False\n                self.fila"),
    "o-ultimo-transferido-primeiro": ("self._fim_da_frente() if", "0 if"),
    "quem-passa-a-frente-e-o-primeiro": ("fila.index(quem) + 1 if na_frente", "1 if na_frente"),
    "volta-a-quem-o-transferiu": ("evitado = self._evitado(cliente)", "evitado = None"),
    "nunca-volta-a-quem-o-transferiu": ("return quem if any(", "return quem if True or any("),
    "quem-evita-tira-a-vez-de-outro": ("if evitado is None:", "if True:"),
    "nao-espera-por-quem-volta": ("'desconectou')\n            self._formar_pares(fato)", "'desconectou')"),
    "nao-espera-por-quem-pausa": ("pausa.'))\n        self._formar_pares(fato)", "pausa.'))"),
    "conta-a-fila-de-todos": ("if not self.departamentos:", "if True:"),
    "em-pausa-continua-na-fila": ("self._tirar_da_fila(atendente)\n        self._comecar_pausa", "self._comecar_pausa"),
    "esquece-a-pausa-pedida": ("elif fase is Fase.ULTIMA_CONVERSA:", "elif False:"),
    "em-pausa-continua-online": ("self.online.discard(atendente)", "pass"),
    "volta-na-frente": (VOLTA, VOLTA + "; self.fila_atendentes.reverse()"),
    "esquece-de-devolver": ("self._enfileirar(fato, par, na_frente=True)", "pass"),
    "troca-quem-fala-e-quem-ouve": ("quem.nome, destino.nome, mensagem", "destino.nome, quem.nome, mensagem"),
    "chama-sem-pronto": ("elif fase is Fase.CONVERSA and estado.diz_pronto:", "elif False:"),
    "espera-o-pronto-de-quem-nao-o-diz": ("fase is Fase.CONVERSA and estado.diz_pronto", "fase is Fase.CONVERSA"),
    "o-pronto-nao-chama": ("def _chamar(", "def _chamar(*_):\n        pass\n\n    def _outro("),
    "no-intervalo-perde-o-transferido": ("= Fase.INTERVALO\n", "= Fase.INTERVALO\n                return\n"),
    "no-intervalo-le-fila-ok": ("estado.fase is not Fase.FILA:", "estado.fase not in (Fase.FILA, Fase.INTERVALO):"),
    "no-intervalo-nao-esta-online": ("fase = Fase.INTERVALO", "fase = Fase.INTERVALO; self.online.remove(quem)"),
    "no-intervalo-guarda-o-que-se-diz": (SEM_PAR, f"estado.guardadas += map(str.encode, textos); {SEM_PAR}"),
    "no-intervalo-o-fim-expulsa": ("INTERVALO): {Fim: _JA_ACABOU", "INTERVALO): {Fim: Filas._sair_da_fila"),
    "em-pausa-o-fim-expulsa": ("Fase.INTERVALO_EM_PAUSA if estado.diz_pronto else Fase.PAUSA", "Fase.PAUSA"),
    "em-pausa-o-pronto-chama": ("Pronto: Filas._continuar_em_pausa", "Pronto: Filas._chamar"),
}


@casos("defeito", SEM_EXTENSOES | SO_COM_EXTENSOES)
def test_erro_plantado_e_encontrado(monkeypatch, defeito):
    """O explorador encontra o defeito, e não só tropeça nele; e conta a história que leva a ele."""
    certo, errado = defeito
    assert FONTE.count(certo) == 1, "filas.py mudou: este defeito não se planta mais assim"
    com_defeito = types.ModuleType("filas_com_defeito")
    vars(com_defeito).update({**vars(modulo), "__name__": "filas_com_defeito"})
    exec(FONTE.replace(certo, errado), vars(com_defeito))
    monkeypatch.setitem(sys.modules, "filas_com_defeito", com_defeito)  # sem isso as filas não se copiam
    mundo, historia = DOIS_ESPERAM if defeito in SEM_EXTENSOES.values() else COM_PRONTO
    with pytest.raises(AssertionError, match=r"(?s)^(linhas|listas|posições|ouvinte|devolve|fim|mãos): .*\nHistória: "):
        explorar(Mundo(**mundo, tipo=com_defeito.Filas), historia)
